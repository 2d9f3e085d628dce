/** How long a destination may acknowledge nothing (TCP_USER_TIMEOUT), where the runtime tells the descriptor of a socket. */
import type { Socket } from 'node:net';
import { innermost } from '../../endpoint/inner.ts';
import type { DirectClient } from '../../endpoint/model.ts';
import { GraceError } from '../../error.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import { setUserTimeout } from '../../sys/socket.ts';

/** Throws GraceError for a destination that is to have such a time where it cannot. */
export function mustTakeUserTimeout(endpoint: DirectClient): void {
  const inner = innermost(endpoint);
  if (inner.type === 'unix' || inner.userTimeout === undefined) return;
  if (hasLinuxCalls && !('Deno' in globalThis)) return;
  throw new GraceError('userTimeout of a destination needs Linux, and on Deno the native engine', {
    hint: 'leave it out; the time-outs of the system hold',
    code: 'ERR_GRACE_ENDPOINT',
  });
}

/** Have the system cut the connection when its peer acknowledges nothing for so many milliseconds. */
export function limitSilence(socket: Socket, ms: number): void {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  if (typeof handle?.fd !== 'number' || handle.fd < 0) return;
  try {
    setUserTimeout(handle.fd, ms);
  } catch {
    // It is gone, which reading tells.
  }
}
