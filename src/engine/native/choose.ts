/**
 * Destinations by the name that a client asks for, whose TLS is not ended here. Between the waiting room and the dialer: passes on at
 * once who need not be listened to. What a client says is looked at where it is (MSG_PEEK), and stays in the
 * kernel: the relay reads it from there, and a client that moves to another process meanwhile is listened to anew. The portable
 * engine's is portable/choose.ts.
 */
import { ClientHelloReader } from '../client-hello.ts';
import type { ClientHello } from '../client-hello.ts';
import { HELLO_TIMEOUT_MS } from '../policy.ts';
import { heardOf, judge, MAX_CHOICE_BYTES, SniChoice, UNRECOGNIZED_NAME } from '../sni-choice.ts';
import type { Chosen, Heard } from '../sni-choice.ts';
import type { DialAge } from '../transfer.ts';
import { IS_UNIX, READ_TO_END } from './connection-table.ts';
import type { Dialer } from './dial.ts';
import { TCP_EVENTS, UNIX_EVENTS } from './epoll-events.ts';
import { EAGAIN, EINTR } from './errno.ts';
import type { SniPlan } from './thread-plans.ts';
import type { Thread } from './thread.ts';

/** A client whose ClientHello is not whole yet. */
type Listening = {
  readonly sni: SniPlan;
  readonly reader: ClientHelloReader;
  readonly sinceMs: number;
  readonly limitMs: number;
  /** Of what is there, so much has been read. */
  length: number;
  found: ClientHello | 'more' | null;
};

/** Chooses for the clients of one thread. */
export class Chooser {
  readonly #thread: Thread;
  readonly #dialer: Dialer;
  readonly #listening = new Map<number, Listening>();
  readonly #choices = new WeakMap<SniPlan, SniChoice>();
  /** When `runDue` has something to do, at the earliest. */
  wakeAt = Infinity;

  constructor(thread: Thread, { dialer }: { dialer: Dialer }) {
    this.#thread = thread;
    this.#dialer = dialer;
  }

  /** Dial for a client, when it is known where. `age`: for so long another process has listened or dialled. */
  begin(client: number, age: DialAge | null = null): void {
    const { upstreams, frontends, table, kernel, now } = this.#thread;
    const { plan, counters } = upstreams.get(table.upstream(client))!;
    if (plan.sni === null) return this.#dialer.begin(client, age);
    const listening: Listening = {
      sni: plan.sni,
      reader: new ClientHelloReader(),
      sinceMs: now - (age?.sinceMs ?? 0),
      limitMs: frontends.get(table.frontend(client))?.plan.helloMs ?? HELLO_TIMEOUT_MS,
      length: 0,
      found: 'more',
    };
    this.#listening.set(client, listening);
    counters.addDialing(1);
    this.wakeAt = Math.min(this.wakeAt, listening.sinceMs + listening.limitMs);
    this.#look(client, listening, { hasEnded: false });
    // Whether its end came while it waited, the table may say where it is not so: a new event tells.
    if (!this.#listening.has(client) || !table.has(client, READ_TO_END)) return;
    table.clear(client, READ_TO_END);
    kernel.rewatch(client, table.has(client, IS_UNIX) ? UNIX_EVENTS : TCP_EVENTS, table.generation(client));
  }

  /** Bytes or the end of a client have come. */
  heard(client: number, { hasEnded }: { hasEnded: boolean }): void {
    const listening = this.#listening.get(client);
    if (listening) this.#look(client, listening, { hasEnded });
  }

  /** How long a client has been listened to; null: it is not. */
  ageOf(client: number): DialAge | null {
    const listening = this.#listening.get(client);
    return listening ? { sinceMs: this.#thread.now - listening.sinceMs, attemptMs: 0 } : null;
  }

  /** Stop listening to a client; it is the caller's again. */
  abandon(client: number): void {
    if (this.#listening.size === 0 || !this.#listening.delete(client)) return;
    const { upstreams, table } = this.#thread;
    upstreams.get(table.upstream(client))!.counters.addDialing(-1);
  }

  /** Of a connection that comes from another process: what was chosen there. */
  adopt(client: number, chosen: Chosen): void {
    const { ways, upstreams, table } = this.#thread;
    const own = upstreams.get(table.upstream(client))!;
    const way = own.plan.sni?.ways.find(({ to }) => to === chosen.to);
    ways.set(client, { chosen, upstream: (way && upstreams.get(way.plan.id)) ?? own });
  }

  #look(client: number, listening: Listening, { hasEnded }: { hasEnded: boolean }): void {
    const { kernel } = this.#thread;
    const { reader } = listening;
    // One that sends a byte at a time is not to have all of them copied each time.
    const isWorthIt =
      hasEnded || kernel.available(client) >= Math.min(listening.length + reader.wanted, MAX_CHOICE_BYTES);
    const length = isWorthIt ? kernel.peek(client, MAX_CHOICE_BYTES) : -EAGAIN;
    if (length < 0 && length !== -EAGAIN && length !== -EINTR)
      return this.#thread.end(client, { stage: 'handshake', why: 'client-gone', reason: null, reset: true });
    if (length > listening.length && listening.found === 'more') {
      listening.found = reader.add(Buffer.from(kernel.input.buffer, listening.length, length - listening.length));
      listening.length = length;
    }
    const isLate = this.#thread.now >= listening.sinceMs + listening.limitMs;
    const heard = heardOf({ found: listening.found, length: listening.length, hasEnded, isLate });
    if (heard !== null) this.#decide(client, listening, heard);
  }

  #decide(client: number, { sni, limitMs }: Listening, heard: Heard): void {
    const { ways, upstreams, kernel } = this.#thread;
    this.abandon(client);
    const verdict = judge(this.#choiceOf(sni), heard, { ways: sni.ways.length, hasDefault: sni.hasDefault, limitMs });
    if ('way' in verdict) {
      const { to, plan } = sni.ways[verdict.way]!;
      const name = heard.kind === 'hello' ? heard.asked.serverName : null;
      ways.set(client, { chosen: { name, to }, upstream: upstreams.get(plan.id)! });
      return this.#dialer.begin(client);
    }
    const { why, reason, isTold } = verdict;
    if (isTold) kernel.send(client, UNRECOGNIZED_NAME);
    this.#thread.end(client, {
      stage: 'handshake',
      why,
      reason: reason === null ? null : { text: reason },
      reset: true,
      lingers: isTold,
    });
  }

  #choiceOf(sni: SniPlan): SniChoice {
    const known = this.#choices.get(sni);
    if (known) return known;
    const choice = new SniChoice(sni.patterns);
    this.#choices.set(sni, choice);
    return choice;
  }

  /** Give up those whose time is up. */
  runDue(): void {
    const { now } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    for (const [client, listening] of this.#listening) {
      const dueAt = listening.sinceMs + listening.limitMs;
      if (now >= dueAt) this.#look(client, listening, { hasEnded: false });
      else this.wakeAt = Math.min(this.wakeAt, dueAt);
    }
  }
}
