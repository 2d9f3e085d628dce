import type { ConnectionEnd } from '../engine/engine.ts';
import { maxTimerMs } from '../waiting.ts';
import type { Destination } from './destination.ts';
import type { Routing } from './routing.ts';

/** How a trial went: it passed, new connections failed and the rule goes where it went before, or another change of the rule came in between. */
export type TrialOutcome = { result: 'passed' } | { result: 'rolled back'; why: string } | { result: 'superseded' };

/** A destination that is tried, and what a rule goes back to. */
export type TrialOptions = {
  destination: Destination;
  /** Where new connections went before; it stays stored until the trial has passed. */
  before: Routing;
  /** Time in which new connections must not fail, in milliseconds. */
  forMs: number;
};

/** A client that waited for so long, in milliseconds, and left without an answer, has given up; one that left sooner may have had other reasons. */
const givesUpAfterMs = 1000;

/**
 * A switch that is not for good yet: whether new connections to the destination fail is watched for a time.
 * It fails at the first that does: which was refused, timed out, or ended without a byte for a client that had sent
 * some; and at its end when every client that waits has waited for half of the time or more.
 */
export class Trial {
  readonly destination: Destination;
  readonly before: Routing;
  /** What has become of it. Rejects with the reason of `abandon`, or why the rule could not be changed. */
  readonly outcome: Promise<TrialOutcome>;
  /** Why it has failed; null when its time is up. */
  readonly verdict: Promise<string | null>;
  readonly #forMs: number;
  readonly #beganAt = performance.now();
  /** Whether answers are to be expected: not where the destination before took bytes and never sent any. */
  readonly #expectsAnswers: boolean;
  readonly #atStart;
  readonly #stopHearing: () => void;
  readonly #timers: NodeJS.Timeout[];
  #atHalf: ReturnType<Destination['stats']> | null = null;
  #hasConnected = false;
  readonly #settle: (outcome: TrialOutcome) => void;
  readonly #fail: (error: unknown) => void;
  readonly #judge: (why: string | null) => void;

  constructor({ destination, before, forMs }: TrialOptions) {
    this.destination = destination;
    this.before = before;
    this.#forMs = forMs;
    this.#atStart = destination.stats();
    const usual = before.current.stats();
    this.#expectsAnswers = !(usual.bytesIn > 0 && usual.bytesOut === 0);
    const outcome = Promise.withResolvers<TrialOutcome>();
    this.outcome = outcome.promise;
    this.#settle = outcome.resolve;
    this.#fail = outcome.reject;
    this.outcome.catch(() => {}); // whoever asked for it may have gone
    const verdict = Promise.withResolvers<string | null>();
    this.verdict = verdict.promise;
    this.#judge = verdict.resolve;
    this.#stopHearing = destination.upstream.onEnd((end) => {
      const why = this.#failureOf(end);
      if (why !== null) this.#judge(why);
    });
    const timer = (act: () => void, afterMs: number) => setTimeout(act, Math.min(afterMs, maxTimerMs));
    this.#timers = [
      timer(() => (this.#atHalf = destination.stats()), forMs / 2),
      timer(() => this.#judge(this.#silence()), forMs),
    ];
  }

  /** What is left of its time, in milliseconds. */
  get leftMs(): number {
    return Math.max(0, this.#beganAt + this.#forMs - performance.now());
  }

  /** It is over: nothing is watched any more. */
  end(outcome: TrialOutcome): void {
    this.#stop();
    this.#settle(outcome);
  }

  /** It is over, and for this reason nobody here knows how it went. */
  abandon(reason: unknown): void {
    this.#stop();
    this.#fail(reason);
  }

  #stop(): void {
    this.#stopHearing();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** Why a connection that has ended speaks against the destination; null when it does not. */
  #failureOf({ stage, reason, error, bytesIn, bytesOut, durationMs }: ConnectionEnd): string | null {
    // One of before, to a destination that was the rule's earlier.
    if (durationMs > performance.now() - this.#beganAt) return null;
    if (stage === 'relay') this.#hasConnected = true;
    const isUnanswered = bytesIn > 0 && bytesOut === 0;
    const hasGivenUp = durationMs >= givesUpAfterMs;
    switch (reason) {
      case 'name-failed':
      case 'dial-refused':
      case 'dial-timeout':
      case 'dial-tls-failed':
      case 'dial-failed':
        return error?.message ?? reason;
      case 'client-gone':
        return hasGivenUp ? `a client gave up after ${seconds(durationMs)} without a connection` : null;
      case 'upstream-reset':
        return bytesOut === 0 ? 'a connection was reset before a byte came back' : null;
      case 'error':
      case 'idle':
        return isUnanswered ? `a connection broke before a byte came back: ${error?.message ?? reason}` : null;
      case 'finished':
        return isUnanswered && this.#expectsAnswers
          ? 'a connection ended before a byte came back to a client that had sent some'
          : null;
      case 'client-reset':
        return isUnanswered && this.#expectsAnswers && hasGivenUp
          ? `a client gave up after ${seconds(durationMs)} without an answer`
          : null;
      case 'handshake-failed':
      case 'unknown-name':
      case 'proxy-refused':
      case 'denied':
      case 'address-connections':
      case 'address-rate':
      case 'lifetime':
      case 'closed':
      case 'stopped':
      case 'shortage':
      case 'crash':
        return null;
    }
  }

  /** Nothing failed; whether nothing succeeded either, though clients have waited for half of the time. */
  #silence(): string | null {
    const atStart = this.#atStart;
    const atHalf = this.#atHalf ?? atStart;
    const now = this.destination.stats();
    const waitedFor = seconds(this.#forMs / 2);
    const isNew = atStart.connections === 0;
    const isNothingConnected = !this.#hasConnected && now.connections === now.dialing;
    if (isNew && isNothingConnected && atHalf.dialing > 0 && now.dialing > 0)
      return `no answer to a connect within ${waitedFor}`;
    const isWaiting = now.connections > now.dialing && atHalf.bytesIn > atStart.bytesIn;
    if (this.#expectsAnswers && isWaiting && now.bytesOut === atStart.bytesOut)
      return `no byte came back within ${waitedFor}, on any connection`;
    return null;
  }
}

function seconds(milliseconds: number): string {
  const time = milliseconds / 1000;
  return `${time < 1 ? Number(time.toPrecision(2)) : Math.round(10 * time) / 10} s`;
}
