/** Asks the threads what connections they have, and has them end some. */
import type { ListedConnection, Report } from './messages.ts';
import type { Threads } from './threads.ts';

type Answer = Extract<Report, { type: 'listed' | 'closed-connections' }>;

/** Connections that a thread is told to end at once, at the most: a millisecond or so. */
const MAX_CLOSED = 200;

/** The questions that are under way, in the main thread. */
export class Inventory {
  readonly #threads: Threads;
  readonly #pending = new Map<number, { thread: number; done: (answer: Answer | null) => void }>();
  #last = 0;

  constructor(threads: Threads) {
    this.#threads = threads;
  }

  /** Every connection of these upstreams, by their numbers. One that begins or ends meanwhile may be there or not. */
  async list(upstreams: number[]): Promise<ListedConnection[]> {
    const ofThreads = this.#threads.alive.map(async (thread) => {
      const connections: ListedConnection[] = [];
      for (let from: number | null = 0; from !== null;) {
        const answer: Answer | null = await this.#ask(thread, { type: 'list', upstreams, from });
        if (answer?.type !== 'listed') break;
        connections.push(...answer.connections);
        from = answer.next;
      }
      return connections;
    });
    return (await Promise.all(ofThreads)).flat();
  }

  /** End the connections with these numbers. Returns how many there were. */
  async close(ids: readonly number[]): Promise<number> {
    let count = 0;
    for (let at = 0; at < ids.length; at += MAX_CLOSED) {
      const some = ids.slice(at, at + MAX_CLOSED);
      const answers = await Promise.all(
        this.#threads.alive.map((thread) => this.#ask(thread, { type: 'close-connections', ids: some })),
      );
      for (const answer of answers) if (answer?.type === 'closed-connections') count += answer.count;
    }
    return count;
  }

  #ask(
    thread: number,
    command: { type: 'list'; upstreams: number[]; from: number } | { type: 'close-connections'; ids: number[] },
  ): Promise<Answer | null> {
    const question = ++this.#last;
    if (!this.#threads.alive.includes(thread)) return Promise.resolve(null);
    return new Promise((done) => {
      this.#pending.set(question, { thread, done });
      this.#threads.send(thread, { ...command, question });
    });
  }

  /** A thread has answered. */
  answered(answer: Answer): void {
    this.#pending.get(answer.question)?.done(answer);
    this.#pending.delete(answer.question);
  }

  /** A thread is gone, or all of them: they will not answer. */
  lost(lost?: number): void {
    for (const [question, { thread, done }] of this.#pending) {
      if (lost !== undefined && thread !== lost) continue;
      this.#pending.delete(question);
      done(null);
    }
  }
}
