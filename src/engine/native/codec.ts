/** What stands between plain bytes and the socket of a leg. */
import type { TlsFacts } from '../engine.ts';
import type { ProxyTls } from '../proxy-fields.ts';
import type { TlsClient } from './messages.ts';

/** What a socket is to be given: the first so many bytes of memory at this address, which hold until something is encoded again. */
export type Encoded = { readonly bytes: Uint8Array; readonly address: bigint; readonly length: number };

/** Between plain bytes and the socket of one leg. It reads and writes with the kernel of its thread, and never waits. */
export type Codec = {
  /**
   * Read from the socket, and leave plain bytes at the beginning of `kernel.input`. Bytes that had been read before
   * it was attached come first.
   *
   * @param size bytes that are read from the socket at most; default: as many as there is room for
   * @returns how many; 0 when the peer has ended its direction; -EAGAIN only when the socket itself had no more; or
   *   another negative errno
   */
  receive(size?: number): number;
  /**
   * What the socket is to be given for plain bytes.
   *
   * @param length so many at the beginning of `kernel.input`, which may be overwritten
   * @param isLast the end of our direction follows at once: what `farewell` would give may be said with them
   */
  encode(length: number, isLast: boolean): Encoded;
  /** What the socket is to be given before our direction ends, as `encode` gives it; empty for nothing. */
  farewell(): Encoded;
  /** The leg is about to be closed. */
  close(): void;
  /** Whether the last `receive` has left nothing behind, here or in the socket: an event tells of whatever comes. */
  readonly isDrained?: boolean;
  /** Why `receive` failed, where it was not for the socket; null: it did not. */
  readonly failure: string | null;
  /** Whether the peer's end was read from the socket itself: nothing of it can come any more. */
  readonly hasReadFin: boolean;
  /** Whether the peer has ended its direction without having said so, as TLS has it. */
  readonly isTruncated?: boolean;
  /** Null: it is not TLS. */
  readonly tls: TlsClient | null;
  /** What was agreed on in the handshake; absent where the codec is not of TLS. */
  readonly agreed?: TlsFacts;
  /** What of it a PROXY header tells a destination; absent where the codec is not of TLS. */
  readonly proxyTls?: ProxyTls;
  /** What another process needs to go on, beside keys; null: it has to be finished here. */
  snapshot(): Uint8Array | null;
};
