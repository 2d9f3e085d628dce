/** One end of a connection: it sends a stream that can be computed, and checks every byte of the other's. */
import type { Socket } from 'node:net';
import { Checker, pattern } from '../../test/engine/soak-streams.ts';
import type { Pacer } from './pacer.ts';

/** Longest piece that is written at once, in bytes. */
const longestPiece = 16_384;

/** How a peer's direction has ended, if it has. */
export type Ending = 'open' | 'end' | 'reset';

/** The end of one who sends the stream of one seed and expects that of another. */
export class Side {
  readonly socket: Socket;
  /** Resolves when nothing more can come. */
  readonly over: Promise<void>;
  sent = 0;
  ending: Ending = 'open';
  /** When it did, as performance.now() has it. */
  endedAt: number = Infinity;
  /** Code or message of the error that ended it. */
  error = '';
  readonly #checker: Checker;
  readonly #source: Buffer;
  readonly #period: number;
  readonly #waiting = new Set<() => void>();

  constructor(socket: Socket, { sends, expects, first }: { sends: number; expects: number; first?: Buffer }) {
    this.socket = socket;
    this.#checker = new Checker(expects);
    this.#source = pattern(sends);
    this.#period = this.#source.length / 2;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    const isOver = (ending: Ending) => {
      if (this.ending === 'open') this.ending = ending;
      this.endedAt = Math.min(this.endedAt, performance.now());
      this.#wake();
      resolve();
    };
    if (first && first.length > 0) this.#checker.take(first);
    socket.on('data', (data: Buffer) => {
      this.#checker.take(data);
      this.#wake();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? error.message;
      this.ending = 'reset';
      this.endedAt = Math.min(this.endedAt, performance.now());
    });
    socket.once('end', () => isOver('end')).once('close', () => isOver('reset'));
    if (socket.destroyed) isOver('reset');
  }

  get received(): number {
    return this.#checker.received;
  }

  /** Offset of the first wrong byte; -1: none. */
  get wrongAt(): number {
    return this.#checker.wrongAt;
  }

  /** When something last came, as performance.now() has it. */
  get lastAt(): number {
    return this.#checker.lastAt;
  }

  /**
   * Send until so many bytes have been sent in all, no faster than they are taken; at a pace, only until the run
   * hurries. False: it could not.
   */
  async sendTo(total: number, pace?: { pacer: Pacer; pauseMs: number }): Promise<boolean> {
    while (this.sent < total) {
      if (!this.socket.writable) return false;
      const start = this.sent % this.#period;
      const piece = this.#source.subarray(start, start + Math.min(longestPiece, total - this.sent));
      this.sent += piece.length;
      if (!this.socket.write(piece)) await this.#drained();
      if (pace?.pacer.isHurrying) break;
      if (pace && this.sent < total) await pace.pacer.pause(pace.pauseMs);
    }
    return this.socket.writable;
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.socket.off('drain', done).off('close', done);
        resolve();
      };
      this.socket.once('drain', done).once('close', done);
    });
  }

  /** Wait until so many bytes have come in all. False: the other side ended before. */
  async receiveTo(total: number): Promise<boolean> {
    while (this.received < total && this.ending === 'open')
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.received >= total;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** End our direction; the other goes on. */
  end(): void {
    if (this.socket.writable) this.socket.end();
  }
}
