/** One section: all its peers, measured in turn. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { backendProgram, startBackend } from './backend.ts';
import type { Backend } from './backend.ts';
import { interleave } from './interleave.ts';
import type { Rounds } from './interleave.ts';
import type { Figures } from './measure.ts';
import type { Options } from './options.ts';
import { startPeer } from './peers.ts';
import type { Peer, RunningPeer } from './peers.ts';
import { findProgram } from './program.ts';
import type { Section } from './section.ts';
import { checkTls, checkUpstreamTls } from './tls.ts';
import type { ClientTls } from './tls.ts';

export type Stage = {
  /** Directory of this benchmark, which is removed in the end. */
  dir: string;
  /** Null where openssl is missing. */
  tls: ClientTls | null;
  /** What the reader should know: who is left out, and why. */
  note: (text: string) => void;
  showProgress: (text: string) => void;
  signal: AbortSignal;
};

export type Comparison = Stage & Pick<Options, 'seconds' | 'rounds' | 'warmsUpAll'>;

/** Measure a section. Empty when its tools are missing. All that it starts has ended when it settles. */
export async function compare(section: Section, comparison: Comparison): Promise<Rounds> {
  const { dir, note, signal } = comparison;
  const missing = [...section.tools, backendProgram[section.backend]].find((tool) => !findProgram(tool));
  if (missing !== undefined) {
    note(`${section.name} is left out: ${missing} is not installed`);
    return new Map();
  }
  await using cleanUp = new AsyncDisposableStack();
  const backend = await startBackend(section.backend, {
    dir: join(dir, `${section.name}-backend`),
    cpus: section.loadCpus ?? null,
    tls: comparison.tls,
    signal,
  });
  cleanUp.defer(() => backend.stop());
  const field = new Field(section, { ...comparison, backend });
  cleanUp.use(field);
  const peers = section.peers.filter(({ name, program }) => {
    const isThere = findProgram(program) !== null;
    if (!isThere) note(`${name} is left out: ${program} is not installed`);
    return isThere;
  });
  return await interleave({
    peers,
    rounds: comparison.rounds,
    signal,
    measure: (peer, round) => field.measure(peer, round),
    onFailure({ peer, round, error, isLast }) {
      note(
        `${section.name}: ${peer.name} failed in round ${round + 1}${isLast ? ' and is not tried again' : ''}: ${error.message}`,
      );
    },
  });
}

/** The peers of a section that run at the moment. */
class Field implements AsyncDisposable {
  readonly #section: Section;
  readonly #comparison: Comparison & { backend: Backend };
  readonly #running = new Map<string, RunningPeer>();

  constructor(section: Section, comparison: Comparison & { backend: Backend }) {
    this.#section = section;
    this.#comparison = comparison;
  }

  /** Figures of a peer, which is started when it does not run. One that fails is stopped, and starts anew the next time. */
  async measure(peer: Peer, round: number): Promise<Figures> {
    const { isAlone = false, name } = this.#section;
    const { rounds, showProgress } = this.#comparison;
    showProgress(`${name} ${round + 1}/${rounds} ${peer.name}`);
    const running = this.#running.get(peer.name) ?? (await this.#start(peer));
    try {
      return await this.#section.measure(running, this.#measurement());
    } catch (error) {
      throw await this.#giveUp(running, error as Error);
    } finally {
      if (isAlone) await this.#stop(running);
    }
  }

  #measurement() {
    const { seconds, signal, tls } = this.#comparison;
    return { seconds, signal, cpus: this.#section.loadCpus ?? null, env: this.#section.isTls && tls ? tls.env : {} };
  }

  /** Start a peer and use it once as it is going to be measured, for what it compiles, caches and allocates meanwhile. */
  async #start(peer: Peer): Promise<RunningPeer> {
    const { isTls, upstreamTls = null, forwardsPlainToo = false, isAlone = false, name } = this.#section;
    const { measure, warmUp = measure, warmUpSeconds = 1 } = this.#section;
    const { dir, tls, signal, backend, warmsUpAll } = this.#comparison;
    const running = await startPeer(peer, {
      dir: join(dir, `${name}-${peer.name}`.replaceAll(/[^a-z0-9]+/gi, '-')),
      upstreamPort: backend.port,
      pem: isTls ? tls!.pem : null,
      upstreamTls,
      forwardsPlainToo,
      signal,
    });
    this.#running.set(peer.name, running);
    try {
      if (isTls) await checkTls(running.port, { env: tls!.env, signal });
      if (upstreamTls !== null) await checkUpstreamTls(running.port, { kind: upstreamTls, signal });
      if (!isAlone && (warmsUpAll || peer.compilesAsItRuns))
        await warmUp(running, { ...this.#measurement(), seconds: warmUpSeconds });
      return running;
    } catch (error) {
      throw await this.#giveUp(running, error as Error);
    }
  }

  /** Stop a peer that failed, and what may still be busy with it; the error with the peer's own words. */
  async #giveUp(running: RunningPeer, error: Error): Promise<Error> {
    const words = running.lastWords();
    await this.#stop(running);
    if (!this.#comparison.signal.aborted) await this.#comparison.backend.renew();
    return new Error(`${error.message}; the peer ${words}`, { cause: error });
  }

  async #stop(running: RunningPeer): Promise<void> {
    this.#running.delete(running.name);
    await running.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map((each) => this.#stop(each)));
  }
}

/** A copy of the Node that runs this: the pages of one file are shared, and so is their memory divided. */
export function copyNode(dir: string): string {
  mkdirSync(dir, { recursive: true });
  const copy = join(dir, 'node');
  copyFileSync(process.execPath, copy);
  return copy;
}
