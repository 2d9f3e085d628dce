/**
 * The accounts of a soak: each connection is opened here and settled here, and its end was in order, or is explained by
 * something that happened, or is a failure.
 */
import type { Kind, Plan } from './plan.ts';
import type { Side } from './side.ts';

/** A connection while it is open. Times are those of performance.now(). */
export type Entry = {
  readonly plan: Plan;
  readonly startedAt: number;
  /** Its destination as far as it can be known: null while a switch is under way. */
  expects: string | null;
  /** Who it is for its destination, where that is told. */
  claims: string | null;
  client: Side | null;
  server: Side | null;
  /** The destination that it came to, and whom that took it for. */
  cameTo: string | null;
  seenAs: string | null;
  /** Resolves when the destination has done its part; not before it has come there. */
  readonly served: PromiseWithResolvers<void>;
};

/**
 * What went wrong with a connection: `refused` when there was none, `lost` when it ended early, `wrong` when it was not
 * what it should have been, `stuck` when nothing moved.
 */
export type Problem = { what: 'refused' | 'lost' | 'wrong' | 'stuck'; text: string };

/** A time in which something happened that ends connections. */
export type Window = {
  name: string;
  from: number;
  /** Infinity while it happens. */
  to: number;
  /** Whether it may have ended this connection, which ended in its time. */
  mayEnd: (entry: Entry) => boolean;
};

/** What has come of the connections of one kind. */
export type Tally = { done: number; bytesUp: number; bytesDown: number; explained: number; failed: number };

/** A loss is seen so much later than what caused it, at the most, in milliseconds: the machine may be busy. */
const lateMs = 20_000;
/** Windows are remembered for so long, in milliseconds. */
const rememberMs = 120_000;

/** All connections of a run. */
export class Accounts {
  readonly open: Map<number, Entry> = new Map();
  readonly tallies: Map<Kind, Tally> = new Map();
  /** Connections that were lost, by what explains it. */
  readonly explained: Map<string, number> = new Map();
  /** One sentence for each connection that was lost without an explanation, and for whatever else went wrong. */
  readonly failures: string[] = [];
  /** Connections that came to a destination without a word: dials of checks, and of clients that were lost. */
  silent = 0;
  #windows: Window[] = [];

  /** Begin a connection. */
  begin(plan: Plan, expects: string | null): Entry {
    const entry: Entry = {
      plan,
      startedAt: performance.now(),
      expects,
      claims: null,
      client: null,
      server: null,
      cameTo: null,
      seenAs: null,
      served: Promise.withResolvers(),
    };
    this.open.set(plan.id, entry);
    return entry;
  }

  /** Something begins that may end connections; call what is returned when it is over. */
  happens(name: string, mayEnd: Window['mayEnd']): () => void {
    const window: Window = { name, from: performance.now(), to: Infinity, mayEnd };
    this.#windows = [...this.#windows.filter(({ to }) => to > window.from - rememberMs), window];
    return () => void (window.to = performance.now());
  }

  /** Something is wrong that is no connection's. */
  fail(text: string): void {
    this.failures.push(text);
  }

  /** End a connection's entry: with this problem, or with what its two sides have seen. Returns whether all was in order. */
  settle(
    entry: Entry,
    { isDone, problem = problemOf(entry, isDone) }: { isDone: boolean; problem?: Problem | null },
  ): boolean {
    if (!this.open.delete(entry.plan.id)) return false;
    const tally = this.#tallyOf(entry.plan.kind);
    tally.bytesUp += entry.server?.received ?? 0;
    tally.bytesDown += entry.client?.received ?? 0;
    if (problem === null) {
      tally.done++;
      return true;
    }
    const explanation = problem.what === 'lost' ? this.#explain(entry) : null;
    if (explanation !== null) {
      tally.explained++;
      this.explained.set(explanation, (this.explained.get(explanation) ?? 0) + 1);
      return false;
    }
    tally.failed++;
    this.fail(`${describe(entry)}: ${problem.text}`);
    return false;
  }

  #explain(entry: Entry): string | null {
    // The first end may have been one in order, of one direction.
    const ends = [entry.client, entry.server].flatMap((side) => (side && side.endedAt < Infinity ? side.endedAt : []));
    const endedAt = ends.length > 0 ? Math.max(...ends) : performance.now();
    const found = this.#windows.find(
      ({ from, to, mayEnd }) => entry.startedAt <= to && endedAt >= from && endedAt <= to + lateMs && mayEnd(entry),
    );
    return found?.name ?? null;
  }

  #tallyOf(kind: Kind): Tally {
    const found = this.tallies.get(kind) ?? { done: 0, bytesUp: 0, bytesDown: 0, explained: 0, failed: 0 };
    this.tallies.set(kind, found);
    return found;
  }
}

/** What the two sides of a connection that has ended have to say of each other; null: all is well. */
export function problemOf({ client, server, expects, cameTo, claims, seenAs }: Entry, isDone: boolean): Problem | null {
  for (const [where, side] of [['client', client] as const, ['server', server] as const])
    if (side && side.wrongAt !== -1) return { what: 'wrong', text: `the ${where} got a wrong byte at ${side.wrongAt}` };
  if (server && expects !== null && cameTo !== expects)
    return { what: 'wrong', text: `it came to ${cameTo}, where ${expects} was the destination` };
  if (server && claims !== null && seenAs !== claims)
    return { what: 'wrong', text: `the server took it for ${seenAs}, and it is ${claims}` };
  // More than was sent is wrong whatever happened meanwhile.
  if (client && client.received > (server?.sent ?? 0))
    return { what: 'wrong', text: `${server?.sent ?? 0} bytes were sent down, and ${client.received} came` };
  if (server && server.received > (client?.sent ?? 0))
    return { what: 'wrong', text: `${client?.sent ?? 0} bytes were sent up, and ${server.received} came` };
  const lost = (text: string): Problem => ({ what: 'lost', text });
  if (!client) return lost('it was lost before it was open');
  if (client.ending !== 'end') return lost(`the client saw a reset (${client.error || 'without a word'})`);
  if (!server) return lost('it ended, and never came to a destination');
  if (server.ending !== 'end') return lost(`the server saw a reset (${server.error || 'without a word'})`);
  if (client.received < server.sent)
    return lost(`${server.sent} bytes were sent down, and ${client.received} came before the end`);
  if (server.received < client.sent)
    return lost(`${client.sent} bytes were sent up, and ${server.received} came before the end`);
  return isDone ? null : lost('it ended early, on both sides alike');
}

function describe({ plan, startedAt, client, server, cameTo }: Entry): string {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const sides = [client, server].map((side) => (side ? `${side.received} came, ${side.sent} sent` : 'none'));
  return `${plan.kind} ${plan.id} (${plan.script}, ${seconds} s old, at ${cameTo ?? 'no destination'}; client ${sides[0]}; server ${sides[1]})`;
}
