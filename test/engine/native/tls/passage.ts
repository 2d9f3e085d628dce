import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import type { Upstream } from '../../../../src/engine/engine.ts';
import { CONNECTIONS_PER_BATCH, receiveBatch, sendBatch } from '../../../../src/engine/transfer.ts';
import { closeFd } from '../../../../src/sys/descriptor.ts';
import { openSocketPair } from '../../../../src/sys/socket.ts';

/** The way that two processes use, within one. */
export class Passage implements Disposable {
  readonly #pair = openSocketPair('seqpacket');
  #batches = 0;

  /** Move every connection of an upstream. Returns how many. */
  async move(from: readonly [NativeEngine, Upstream], to: readonly [NativeEngine, Upstream]): Promise<number> {
    for (let moved = 0; ;) {
      const frozen = await from[0].mover.freeze(from[1], CONNECTIONS_PER_BATCH);
      if (frozen.length === 0) return moved;
      sendBatch(this.#pair[0], ++this.#batches, frozen);
      const received = receiveBatch(this.#pair[1], this.#batches);
      from[0].mover.release(frozen);
      to[0].mover.adopt(received, { upstream: to[1], frontend: null, observer: {}, idleMs: null });
      moved += received.length;
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#pair) closeFd(fd);
  }
}
