/** Connections of the threads on their way to another process, or from one. */
import { GraceError } from '../../error.ts';
import type { AdoptOptions, MovedConnection, Mover } from '../transfer.ts';
import type { Upstream } from '../engine.ts';
import { NativeEntrance } from './entrance.ts';
import type { Threads } from './threads.ts';
import { NativeUpstream } from './upstream.ts';

export type NativeMoverOptions = {
  threads: Threads;
  isUsable: () => boolean;
  /** Make known in the threads what stands for an entrance that is no more; returns its number. */
  openShadow: (options: Pick<AdoptOptions, 'observer' | 'idleMs'>) => number;
};

export class NativeMover implements Mover {
  readonly #options: NativeMoverOptions;
  /** Threads that frozen connections are of. */
  readonly #threadOf = new WeakMap<MovedConnection, number>();
  /** Called with what a thread has frozen. */
  readonly #waiting: { thread: number; upstream: number; done: (connections: MovedConnection[]) => void }[] = [];
  #next = 0;

  constructor(options: NativeMoverOptions) {
    this.#options = options;
  }

  async freeze(upstream: Upstream, limit: number): Promise<MovedConnection[]> {
    if (!(upstream instanceof NativeUpstream) || !upstream.isPlain) return [];
    const frozen: MovedConnection[] = [];
    for (const thread of this.#options.threads.alive) {
      if (frozen.length >= limit || upstream.connectionsOf(thread) === 0) continue;
      const connections = await new Promise<MovedConnection[]>((done) => {
        this.#waiting.push({ thread, upstream: upstream.id, done });
        this.#options.threads.tell(thread, { do: 'freeze', upstream: upstream.id, limit: limit - frozen.length });
      });
      for (const connection of connections) this.#threadOf.set(connection, thread);
      frozen.push(...connections);
    }
    return frozen;
  }

  /** A thread has frozen connections of an upstream. */
  frozen(thread: number, upstream: number, connections: MovedConnection[]): void {
    const index = this.#waiting.findIndex((each) => each.thread === thread && each.upstream === upstream);
    this.#waiting.splice(index, index === -1 ? 0 : 1)[0]?.done(connections);
  }

  /** A thread is gone. */
  lost(thread: number): void {
    for (const { done } of this.#waiting.filter((each) => each.thread === thread)) done([]);
  }

  thaw(connections: readonly MovedConnection[]): void {
    for (const [thread, clients] of this.#byThread(connections)) this.#options.threads.tell(thread, { do: 'thaw', clients });
  }

  letGo(connections: readonly MovedConnection[]): void {
    for (const [thread, clients] of this.#byThread(connections)) this.#options.threads.tell(thread, { do: 'let-go', clients });
  }

  #byThread(connections: readonly MovedConnection[]): Map<number, number[]> {
    const clients = new Map<number, number[]>();
    for (const connection of connections) {
      const thread = this.#threadOf.get(connection);
      if (thread === undefined) throw new TypeError('this connection was frozen by another engine');
      clients.set(thread, [...(clients.get(thread) ?? []), connection.client.fd]);
    }
    return clients;
  }

  adopt(connections: readonly MovedConnection[], { upstream, entrance, observer, idleMs }: AdoptOptions): void {
    const { threads, isUsable, openShadow } = this.#options;
    const alive = threads.alive;
    if (!(upstream instanceof NativeUpstream) || !upstream.isPlain || !isUsable() || alive.length === 0) {
      throw new GraceError('connections of threads cannot be taken over by the portable engine');
    }
    const own = entrance instanceof NativeEntrance ? entrance : null;
    const id = own?.idInThreads ?? openShadow({ observer, idleMs });
    const members = own?.isInOneThread ? alive.slice(0, 1) : alive;
    const shares = members.map((thread, index) => ({ thread, share: connections.filter((_, at) => (at + this.#next) % members.length === index) }));
    this.#next++;
    for (const { thread, share } of shares.filter((each) => each.share.length > 0)) {
      upstream.countAdopted(thread, share.length);
      threads.tell(thread, { do: 'adopt', upstream: upstream.id, entrance: id, connections: share });
    }
  }
}
