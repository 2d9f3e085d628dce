/**
 * What comes between a destination with TLS and the first bytes to it: it is told of the client, and shakes hands.
 * The mirror image of client-handshake.ts.
 */
import { SHAKING } from './connection-table.ts';
import type { Dial, Try } from './dial-state.ts';
import { ECONNRESET } from './errno.ts';
import type { Thread } from './thread.ts';
import type { Originated, Originator } from './tls/originate.ts';

/** The legs of one thread that are connected and shake hands; what waits for each is its dial. */
export class UpstreamHandshakes {
  readonly #thread: Thread;
  readonly #originator: Originator;

  constructor(thread: Thread, { originator }: { originator: Originator }) {
    this.#thread = thread;
    this.#originator = originator;
  }

  /**
   * Introduce the client of a dial on a leg that is connected, and have that shake hands.
   *
   * @returns 0; or, with the leg closed, a negative errno
   */
  begin(dial: Dial, { fd, address }: Try): number {
    const { table, kernel } = this.#thread;
    const prelude = this.#thread.preludeOf(dial.client);
    const sent = prelude === null ? 0 : kernel.send(fd, prelude);
    // A socket that was just connected has room for it.
    const tls = dial.upstream.plan.tls!;
    const given = sent === (prelude?.length ?? 0) ? this.#originator.give(fd, tls) : -ECONNRESET;
    if (given >= 0) {
      table.setOther(fd, dial.client);
      table.set(fd, SHAKING);
      dial.shaking = { fd, address, tls };
      return 0;
    }
    table.close(fd);
    kernel.closeWithReset(fd);
    return given;
  }

  /**
   * A leg has come back. `dial`: that of its client, if there is one.
   *
   * @returns what came of it; null where the dial does not wait for it any more. The leg is closed unless a codec is returned.
   */
  take(fd: number, dial: Dial | undefined): Originated | null {
    const { table, kernel } = this.#thread;
    table.clear(fd, SHAKING);
    const isWanted = dial?.shaking?.fd === fd;
    const originated = this.#originator.take(fd, isWanted ? dial.shaking!.tls : null);
    if (isWanted) dial.shaking = null;
    if (isWanted && 'codec' in originated) return originated;
    if ('codec' in originated) originated.codec.close();
    table.close(fd);
    kernel.closeWithReset(fd);
    return isWanted ? originated : null;
  }

  /** A dial does not wait any more. What shakes hands is the other thread's until it comes back, which it does as soon as it sees the end. */
  leave(dial: Dial): void {
    if (dial.shaking === null) return;
    this.#thread.kernel.endBoth(dial.shaking.fd);
    dial.shaking = null;
  }

  /** The thread of handshakes is gone: no leg will come back. What their dials wait for is the caller's matter. */
  close(): void {
    const { table, kernel, number, fdBound } = this.#thread;
    for (const fd of table.owned(number, SHAKING, fdBound)) {
      table.close(fd);
      kernel.closeWithReset(fd);
    }
  }
}
