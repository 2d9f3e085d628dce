/**
 * A TLS 1.3 server that answers a request before it has read all of it and closes, without TCP_NODELAY,
 * loses its answer as long as its session tickets, sent just before, are not acknowledged: Nagle's
 * algorithm holds the answer back, and closing with bytes unread throws it away. Having just sent,
 * Linux delays our acknowledgement by up to 40 ms. So what such a server says first is acknowledged at once.
 */
import { IPPROTO_TCP, isDarwin, TCP_QUICKACK } from '../../sys/constants.ts';
import { setSocketOption } from '../../sys/socket.ts';
import type { Leg } from './leg.ts';

/** Acknowledgements that Linux sends without delay at the beginning of a connection (TCP_MAX_QUICKACKS). */
const MAX_WRITES = 16;

/**
 * What to call after each write to a leg until bytes have come from it; null where nothing of that kind
 * is to be done: without TLS, and where the runtime does not tell the descriptor.
 */
export function promptAcks({ socket, carrier, isTcp }: Leg): (() => void) | null {
  if (isDarwin || !isTcp || socket === carrier) return null;
  const { _handle: handle } = carrier as unknown as { _handle?: { fd?: number } | null };
  if (typeof handle?.fd !== 'number' || handle.fd < 0) return null;
  let writes = 0;
  return () => {
    if (writes++ >= MAX_WRITES || carrier.destroyed || handle.fd === undefined || handle.fd < 0) return;
    // It lasts until the next write (tcp(7)).
    try {
      setSocketOption(handle.fd, IPPROTO_TCP, TCP_QUICKACK, 1);
    } catch {
      // It is gone, which reading tells.
    }
  };
}
