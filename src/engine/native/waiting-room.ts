/** Clients of held rules, which wait in a thread without a dial. */
import type { DialAge } from '../transfer.ts';
import type { Chooser } from './choose.ts';
import type { SurrenderedClient } from './messages.ts';
import { CODED, HELD } from './connection-table.ts';
import type { Thread, ThreadHold } from './thread.ts';
import type { ThreadUpstreams } from './thread-upstreams.ts';

/** Between those who come and the chooser: passes on at once who need not wait. */
export class WaitingRoom {
  readonly #thread: Thread;
  readonly #chooser: Chooser;
  readonly #upstreams: ThreadUpstreams;
  /** Clients by the number of their hold, in the order in which they came. */
  readonly #queues = new Map<number, Set<number>>();
  /** Where those of a hold go who were accepted before it was decided, and came here after. */
  readonly #routes = new Map<number, number>();

  constructor(thread: Thread, { chooser, upstreams }: { chooser: Chooser; upstreams: ThreadUpstreams }) {
    this.#thread = thread;
    this.#chooser = chooser;
    this.#upstreams = upstreams;
  }

  /** Dial for a client, or have it wait while its rule is held. `age`: for so long another process has dialled. */
  enter(client: number, age: DialAge | null = null): void {
    const hold = this.#holdOf(client);
    // Nobody overtakes those whose turn comes with the next command.
    if (!hold || !(hold.state.isOn || this.#queues.has(hold.id))) return this.#chooser.begin(client, age);
    const queue = this.#queues.get(hold.id);
    if (queue) queue.add(client);
    else this.#queues.set(hold.id, new Set([client]));
    this.#thread.table.set(client, HELD);
    this.#countersOf(client).addDialing(1);
    const route = this.#routes.get(hold.id);
    if (route !== undefined) this.#transfer(client, route);
    const wasFull = hold.state.isFull;
    hold.state.enter();
    if (!wasFull && hold.state.isFull) this.#thread.send({ type: 'held-full', hold: hold.id });
  }

  /** A client has gone, or is about to be another process's. */
  leave(client: number): void {
    if (this.#queues.size === 0) return;
    const hold = this.#holdOf(client);
    const queue = hold && this.#queues.get(hold.id);
    if (!hold || !queue?.delete(client)) return;
    if (queue.size === 0) this.#queues.delete(hold.id);
    this.#left(client, hold);
  }

  #left(client: number, hold: ThreadHold): void {
    this.#thread.table.clear(client, HELD);
    this.#countersOf(client).addDialing(-1);
    if (hold.state.leave()) this.#thread.send({ type: 'held-room', hold: hold.id });
  }

  /** Their rule is held no longer: dial for all that wait. */
  release(holdId: number): void {
    const { table, now } = this.#thread;
    this.#routes.delete(holdId);
    for (const [client, hold] of this.#takeAll(holdId)) {
      this.#left(client, hold);
      // It could not move a byte.
      table.setQuiet(client, { quietMs: 0, now });
      this.#chooser.begin(client);
    }
  }

  /** Those that wait are to go to another destination. */
  route(holdId: number, upstreamId: number): void {
    this.#routes.set(holdId, upstreamId);
    for (const client of this.#queues.get(holdId) ?? []) this.#transfer(client, upstreamId);
  }

  #transfer(client: number, upstreamId: number): void {
    const { table, upstreams } = this.#thread;
    const before = table.upstream(client);
    const upstream = upstreams.get(upstreamId);
    if (!upstream || before === upstreamId) return;
    upstream.counters.countOpened();
    upstream.counters.addDialing(1);
    this.#countersOf(client).addDialing(-1);
    table.assign(client, upstreamId, table.frontend(client));
    this.#upstreams.transferred(before);
  }

  /** Those that wait are to go where threads cannot: their descriptors are the main thread's from now on. */
  surrender(holdId: number): void {
    const { table } = this.#thread;
    const surrendered: SurrenderedClient[] = [];
    this.#routes.delete(holdId);
    const all = this.#takeAll(holdId);
    // What a codec knows stays in its thread, and goes where it was to go.
    const coded = all.filter(([client]) => table.has(client, CODED));
    if (coded.length > 0) this.#queues.set(holdId, new Set(coded.map(([client]) => client)));
    for (const [client, hold] of all) {
      if (table.has(client, CODED)) continue;
      this.#left(client, hold);
      surrendered.push(this.#thread.surrender(client));
    }
    if (surrendered.length > 0) this.#thread.send({ type: 'surrendered', hold: holdId, clients: surrendered });
  }

  /** All that wait, in the order in which they came to the rule, also where another process accepted them. */
  #takeAll(holdId: number): [client: number, hold: ThreadHold][] {
    const { table } = this.#thread;
    const clients = [...(this.#queues.get(holdId) ?? [])].sort((a, b) => table.started(a) - table.started(b));
    this.#queues.delete(holdId);
    return clients.flatMap((client) => {
      const hold = this.#holdOf(client);
      return hold ? [[client, hold]] : [];
    });
  }

  #holdOf(client: number): ThreadHold | null {
    const { frontends, table } = this.#thread;
    return frontends.get(table.frontend(client))?.hold ?? null;
  }

  #countersOf(client: number) {
    const { upstreams, table } = this.#thread;
    return upstreams.get(table.upstream(client))!.counters;
  }
}
