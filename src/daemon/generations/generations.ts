/**
 * The older generations: processes that handed their listeners on and go on with the connections
 * they have. Each kept a control socket of its own in the state dir, named for its pid, so that the
 * daemon that serves finds it whoever started whom, and whichever of them crashed.
 */
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { DaemonMovedError, callOnce } from '../../control/client.ts';
import type { Progress, Request, Result } from '../../control/messages.ts';
import type { GenerationReport } from '../../control/shapes.ts';
import { generationPid } from '../../control/paths.ts';
import type { StatePaths } from '../../control/paths.ts';
import { maxDurationMs } from '../../endpoint/duration.ts';
import { within } from '../../waiting.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { isNoDaemon } from '../../kinds.ts';
import type { Changes } from '../../forward/changes.ts';

/** Longest that a generation may take to answer; one that hangs must not hang the daemon that serves. */
const answerTimeoutMs = 1000;
/** Longest for an answer that is about each of its connections. */
const longAnswerTimeoutMs = 5000;
/** What a generation may take beyond the time that its connections get. */
const stopExtraMs = 2000;

/** Follows every older generation until it ends. `close` it; the generations go on. */
export class Generations {
  readonly #paths: StatePaths;
  readonly #changes: Changes;
  /** Hears the last report of a generation that has ended. */
  readonly #onEnded: (last: GenerationReport) => void;
  readonly #reports = new Map<number, GenerationReport>();
  readonly #following = new Map<number, AbortController>();

  constructor({
    paths,
    changes,
    onEnded,
  }: {
    paths: StatePaths;
    changes: Changes;
    onEnded: (last: GenerationReport) => void;
  }) {
    this.#paths = paths;
    this.#onEnded = onEnded;
    this.#changes = changes;
  }

  /** What the older generations last said of themselves, newest first. */
  get reports(): GenerationReport[] {
    return [...this.#reports.values()].sort((a, b) => b.since.localeCompare(a.since));
  }

  /** Find the generations that live, and follow each until it ends. Sockets that nobody serves are removed. */
  async discover(): Promise<void> {
    const pids = readdirSync(this.#paths.dir).map(generationPid);
    await Promise.all(
      pids
        .filter((pid) => pid !== null && pid !== process.pid && !this.#following.has(pid))
        .map((pid) => this.#follow(pid!)),
    );
  }

  /** Whether this generation lives, as far as is known. */
  isFollowed(pid: number): boolean {
    return this.#following.has(pid);
  }

  /** Ask every generation anew, so that counts are those of now. */
  async refresh(): Promise<void> {
    await Promise.all(
      [...this.#following.keys()].map(async (pid) => {
        try {
          const report = await callOnce(
            this.#paths.generationSocket(pid),
            { command: 'generation-report' },
            { signal: AbortSignal.timeout(answerTimeoutMs) },
            this.#paths.dir,
          );
          if (this.#following.has(pid)) this.#reports.set(pid, report);
        } catch (error) {
          // One that has ended has no connections, whatever it said last; of one that hangs that has to do.
          const last = this.#reports.get(pid);
          if (error instanceof GraceError && last) this.#reports.set(pid, withoutConnections(last));
        }
      }),
    );
  }

  /** Ask every generation the same, or those that are meant. Of one that does not answer, or does not understand it, the problem. */
  ask<C extends 'generation-connections' | 'generation-close' | 'generation-drain' | 'generation-hold'>(
    request: Request<C> & { command: C },
    {
      onProgress,
      isMeant = () => true,
    }: { onProgress?: (progress: Progress<C>) => void; isMeant?: (pid: number) => boolean } = {},
  ): Promise<{ pid: number; result?: Result<C>; problem?: string }[]> {
    return Promise.all(
      [...this.#following.keys()].filter(isMeant).map(async (pid) => {
        const late = AbortSignal.timeout(longAnswerTimeoutMs);
        try {
          const path = this.#paths.generationSocket(pid);
          return { pid, result: await callOnce<C>(path, request, { signal: late, onProgress }, this.#paths.dir) };
        } catch (error) {
          // One that has ended has no connections.
          if (isNoDaemon(error) || error instanceof DaemonMovedError) return { pid };
          return { pid, problem: errorMessage(error) };
        }
      }),
    );
  }

  /** Let every generation finish or close the connections of one source, or all. Returns how many were closed. */
  async stop({ srcKey, timeoutMs }: { srcKey?: string | undefined; timeoutMs: number }): Promise<number> {
    const closed = await Promise.all(
      [...this.#following.keys()].map(async (pid) => {
        const request = { command: 'generation-stop' as const, timeoutMs, ...(srcKey === undefined ? {} : { srcKey }) };
        try {
          const signal = AbortSignal.timeout(Math.min(timeoutMs + stopExtraMs, maxDurationMs));
          return (await callOnce(this.#paths.generationSocket(pid), request, { signal }, this.#paths.dir)).closed;
        } catch (error) {
          if (error instanceof GraceError) return 0; // it ended by itself, with no connection left
          return srcKey === undefined ? this.#kill(pid) : 0;
        }
      }),
    );
    return closed.reduce((sum, count) => sum + count, 0);
  }

  /** Have clients that wait for the end of a hold in older generations go to `dst`, and on, unless it is still held. Returns how many went on. */
  async settleHeld(about: Omit<Request<'generation-hold'>, 'command'>): Promise<number> {
    // One of a version that holds nothing has nothing to let go.
    const holds = (pid: number) => this.#reports.get(pid)?.rows.some(({ row }) => row.held === true) ?? false;
    // One that does not answer has ended, or is asked again when it says that it holds some still.
    const answers = await this.ask({ command: 'generation-hold', ...about }, { isMeant: holds });
    return answers.reduce((sum, { result }) => sum + (result?.waiting ?? 0), 0);
  }

  /** Stop following; the generations go on. */
  close(): void {
    for (const follower of this.#following.values()) follower.abort(new GraceError('no longer followed'));
    this.#following.clear();
    this.#reports.clear();
  }

  /** It does not answer. Returns how many connections it had when it last did. */
  #kill(pid: number): number {
    const report = this.#reports.get(pid);
    try {
      // The number could be another process's by now.
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(this.#paths.dir))
        process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
    return report?.rows.reduce((sum, { row }) => sum + row.connections, 0) ?? 0;
  }

  /** Resolves once the generation has said who it is, turned out not to be there, or does not answer for the moment. */
  #follow(pid: number): Promise<void> {
    const follower = new AbortController();
    this.#following.set(pid, follower);
    const { promise: isKnown, resolve } = Promise.withResolvers<void>();
    const onProgress = (report: GenerationReport) => {
      this.#reports.set(pid, report);
      this.#changes.notify();
      resolve();
    };
    callOnce(
      this.#paths.generationSocket(pid),
      { command: 'generation-follow' },
      { signal: follower.signal, onProgress },
      this.#paths.dir,
    )
      .then((last) => void (this.#following.get(pid) === follower && this.#reports.set(pid, last)))
      .catch((error: unknown) => {
        if (isNoDaemon(error)) rmSync(this.#paths.generationSocket(pid), { force: true });
      })
      .catch(() => {}) // the file stays, and is found again
      .finally(() => {
        if (this.#following.get(pid) === follower) {
          this.#following.delete(pid);
          const last = this.#reports.get(pid);
          this.#reports.delete(pid);
          if (last) this.#onEnded(last);
        }
        this.#changes.notify();
        resolve();
      });
    return within(isKnown, answerTimeoutMs, { ref: false });
  }
}

function withoutConnections(report: GenerationReport): GenerationReport {
  const { addresses: _, ...rest } = report;
  return { ...rest, rows: report.rows.map((keyed) => ({ ...keyed, row: { ...keyed.row, connections: 0 } })) };
}
