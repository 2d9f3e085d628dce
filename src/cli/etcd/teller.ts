/** Tells the daemon how following its rules goes, for `status`, its log and metrics; and hears which daemon that is. */
import type { Progress } from '../../control/messages.ts';
import type { Context } from '../context.ts';
import { holdRequest } from '../hold-request.ts';

/** The daemon that has heard. */
export type Daemon = Progress<'rules-source'>;

/** What there is to tell. */
export type Telling = { staleSince?: string; problem?: string };

/** Tells it for as long as the command runs, the next daemon too. */
export class Teller {
  readonly #context: Context;
  readonly #source: string;
  readonly #onDaemon: (daemon: Daemon) => void;
  #said: string | undefined;
  #sequence = 0;
  #last = new AbortController();

  /** `onDaemon` hears of each daemon that comes to know of it. */
  constructor(context: Context, source: string, onDaemon: (daemon: Daemon) => void) {
    this.#context = context;
    this.#source = source;
    this.#onDaemon = onDaemon;
  }

  /** That is how it goes from now on. */
  tell({ staleSince, problem }: { [K in keyof Telling]: string | undefined }): void {
    const telling = { ...(staleSince !== undefined && { staleSince }), ...(problem !== undefined && { problem }) };
    const text = JSON.stringify(telling);
    if (text === this.#said) return;
    this.#said = text;
    const before = this.#last;
    this.#last = new AbortController();
    // What ends what was said last ends all that is still said from before it.
    this.#last.signal.addEventListener('abort', () => before.abort(), { once: true });
    void this.#hold(telling, this.#last.signal, () => before.abort());
  }

  /** Never rejects. `onHeard`: it has been understood, and what was said before can end. */
  async #hold(telling: Telling, until: AbortSignal, onHeard: () => void): Promise<void> {
    const { dir } = this.#context;
    const signal = AbortSignal.any([until, this.#context.signal]);
    this.#sequence = Math.max(this.#sequence + 1, Date.now());
    const request = { command: 'rules-source', source: this.#source, sequence: this.#sequence, ...telling } as const;
    const onProgress = (daemon: Daemon) => {
      onHeard();
      this.#onDaemon(daemon);
    };
    await holdRequest(dir, request, { signal, onProgress });
  }
}
