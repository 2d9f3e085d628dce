/** Clients of a held rule, which wait without a dial, their handshake done. */
import type { Upstream } from '../engine.ts';
import type { Hold } from '../hold.ts';
import type { Connection } from './connection.ts';
import { ownUpstream } from './upstream.ts';
import type { PortableUpstream } from './upstream.ts';

/** What a client waits for. */
type Wait = {
  /** Counts it. */
  upstream: PortableUpstream;
  /** Another one does from now on. */
  moved: (to: PortableUpstream) => void;
};

/** Those that wait for the end of one hold, in the order in which they came; they outlive the frontend that accepted them. */
export class WaitingRoom {
  readonly #hold: Hold<Upstream>;
  readonly #waiting = new Map<Connection, Wait & { go: () => void }>();
  /** Where those go who were accepted before it was decided, and came here after. */
  #upstream: PortableUpstream | null = null;

  constructor(hold: Hold<Upstream>) {
    this.#hold = hold;
    hold.watch({ ended: () => this.#open(), routed: (upstream) => this.#route(ownUpstream(upstream)) });
  }

  /** Whether a client has to wait. */
  get isClosed(): boolean {
    return this.#hold.isOn;
  }

  /** Resolves when it may be dialled for, perhaps to another upstream than before. Rejects with the reason of its signal. */
  wait(connection: Connection, wait: Wait): Promise<void> {
    const { signal } = connection;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const leave = () => {
        this.#waiting.delete(connection);
        signal.removeEventListener('abort', abort);
        this.#hold.leave();
      };
      const abort = () => {
        leave();
        reject(signal.reason);
      };
      const go = () => {
        leave();
        resolve();
      };
      signal.addEventListener('abort', abort);
      this.#waiting.set(connection, { ...wait, go });
      if (this.#upstream) this.#transfer(connection, this.#upstream);
      this.#hold.enter();
    });
  }

  #open(): void {
    this.#upstream = null;
    for (const { go } of this.#waiting.values()) go();
  }

  #route(upstream: PortableUpstream): void {
    this.#upstream = upstream;
    for (const connection of this.#waiting.keys()) this.#transfer(connection, upstream);
  }

  #transfer(connection: Connection, to: PortableUpstream): void {
    const wait = this.#waiting.get(connection)!;
    wait.upstream.transfer(connection, to);
    wait.upstream = to;
    wait.moved(to);
  }
}
