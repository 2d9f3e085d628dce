/** A process that forwards, in whose system calls strace(1) makes what seldom happens happen. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { ClientEndpoint } from '../../src/endpoint/model.ts';
import type { EngineName, UpstreamStats } from '../../src/engine/engine.ts';
import { until } from '../until.ts';

type Line = {
  address?: { host: string; port: number };
  pid?: number;
  paused?: string;
  resumed?: true;
  error?: string;
  stats?: UpstreamStats;
};

export type ForwardOptions = {
  /** With how many threads, if it is the native one and they are not one. */
  engine: EngineName | `native:${number}`;
  to: ClientEndpoint | readonly ClientEndpoint[];
  /** Path of a Unix socket to listen on. Default: a TCP port. */
  path?: string;
  /** A shell's command before it. */
  before?: string;
  /** A command that runs it, see `ownNetwork`. */
  under?: string;
};

export class FaultyForward implements AsyncDisposable {
  readonly address: { host: string; port: number };
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #engine: ForwardOptions['engine'];
  readonly #lines: AsyncIterator<Line>;
  readonly #tracers: ChildProcess[] = [];

  private constructor(
    child: ChildProcess,
    engine: ForwardOptions['engine'],
    lines: AsyncIterator<Line>,
    { address = { host: '', port: 0 }, pid = 0 }: Line,
  ) {
    this.#child = child;
    this.#engine = engine;
    this.#lines = lines;
    this.address = address;
    this.pid = pid;
  }

  static async start({
    engine,
    to,
    path = 'tcp',
    before = 'true',
    under = '',
  }: ForwardOptions): Promise<FaultyForward> {
    const script = new URL('fixtures/forward.ts', import.meta.url).pathname;
    // Deno rewrites commands that have its own path in them, but not one that comes from a variable.
    const run =
      'Deno' in globalThis ? '"$RUNTIME" run -A --no-check' : '"$RUNTIME" --disable-warning=ExperimentalWarning';
    const child = spawn(
      'sh',
      ['-c', `${before} && exec ${under} ${run} "$0" "$@"`, script, engine, JSON.stringify([to].flat()), path],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, RUNTIME: process.execPath },
      },
    );
    const lines = parsed(createInterface({ input: child.stdout! }));
    const { value } = await lines.next();
    if (value === undefined) throw new Error('the forwarding process did not come up');
    return new FaultyForward(child, engine, lines, value as Line);
  }

  /** What it says next. */
  async line(): Promise<Line> {
    return ((await this.#lines.next()).value ?? {}) as Line;
  }

  /**
   * Watch the threads that move the bytes from now on. `expressions` are those of strace's -e. Returns
   * what gives the calls so far, a line each; null where strace cannot do it.
   */
  async trace(...expressions: string[]): Promise<(() => string[]) | null> {
    const threads = await this.#threadIds();
    const tracer = spawn(
      'strace',
      [...threads.flatMap((tid) => ['-p', tid]), ...expressions.flatMap((each) => ['-e', each])],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#tracers.push(tracer);
    const calls: string[] = [];
    let attachments = 0;
    const lines = createInterface({ input: tracer.stderr! });
    const { promise: attached, resolve } = Promise.withResolvers<boolean>();
    tracer.once('error', () => resolve(false)).once('exit', () => resolve(false));
    lines.on('line', (line) => {
      if (!/ attached/.test(line)) calls.push(line);
      else if (++attachments === threads.length) resolve(true);
    });
    return (await attached) ? () => calls : null;
  }

  /** They are there, and have their names, a moment after the process says that it listens. */
  async #threadIds(): Promise<string[]> {
    if (this.#engine === 'portable') return [String(this.pid)];
    const count = Number(this.#engine.split(':')[1] ?? 1);
    const isOurs = (tid: string) =>
      readFileSync(`/proc/${this.pid}/task/${tid}/comm`, 'latin1').startsWith('grace-bytes');
    const ours = () => readdirSync(`/proc/${this.pid}/task`).filter(isOurs);
    await until(`${count} threads have their names`, () => ours().length === count);
    return ours();
  }

  /** Processor time of the whole process so far, in milliseconds. */
  get cpuMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  /** Watch no more, and have no call fail any more: the process's own last words may be among them. */
  async untrace(): Promise<void> {
    for (const tracer of this.#tracers.splice(0)) {
      if (tracer.exitCode !== null || tracer.pid === undefined) continue;
      tracer.kill();
      await once(tracer, 'exit');
    }
  }

  /** Accept no more, and wait until all connections have ended. Returns the lines that were not read, and the counters. */
  async end(): Promise<{ lines: Line[]; stats: UpstreamStats | undefined }> {
    this.#child.stdin?.end();
    const lines: Line[] = [];
    for (let line = await this.line(); Object.keys(line).length > 0; line = await this.line()) lines.push(line);
    return { lines, stats: lines.find(({ stats }) => stats)?.stats };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.untrace();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

async function* parsed(lines: AsyncIterable<string>): AsyncGenerator<Line> {
  for await (const line of lines) yield JSON.parse(line) as Line;
}

/** A command that runs another in a network of its own, set up by a shell's command; null where that is not allowed. */
export function ownNetwork(setup: string): string | null {
  for (const unshare of ['unshare -n', 'unshare -rn']) {
    if (spawnSync('sh', ['-c', `${unshare} sh -c 'ip link set lo up'`], { stdio: 'ignore' }).status !== 0) continue;
    return `${unshare} sh -c 'ip link set lo up && ${setup} && exec "$@"' sh`;
  }
  return null;
}

export const hasStrace: boolean =
  process.platform === 'linux' && spawnSync('strace', ['-V'], { stdio: 'ignore' }).status === 0;
