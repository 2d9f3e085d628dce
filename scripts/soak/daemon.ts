/** The daemon under test: its commands, and which of its processes there are. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import type { DestinationRow, StatusResult } from '../../src/control/shapes.ts';
import { isRunning } from '../../src/sys/process.ts';
import { until } from '../../test/until.ts';

/** How a command went. */
export type Outcome = { code: number | null; stdout: string; stderr: string };

/** Longest that a command may take, in milliseconds. */
const commandMs = 120_000;

/** grace in a state dir of its own. */
export class Daemon {
  readonly dir: string;
  readonly keeper: ChildProcess;
  /** The process that serves, as was seen last. */
  pid = 0;
  /** Those that finish what could not move. */
  predecessors: readonly number[] = [];
  readonly #file: string;

  private constructor({ file, dir, engine }: { file: string; dir: string; engine: string }) {
    this.#file = file;
    this.dir = dir;
    const log = openSync(join(dir, 'console'), 'a');
    this.keeper = spawn(file, ['-d', this.state, 'daemon', '--engine', engine, '--log', this.log], {
      stdio: ['ignore', log, log],
    });
  }

  /** Start it, without rules. */
  static async start(options: { file: string; dir: string; engine: string }): Promise<Daemon> {
    const daemon = new Daemon(options);
    await daemon.look();
    return daemon;
  }

  get state(): string {
    return join(this.dir, 'state');
  }

  get log(): string {
    return join(this.dir, 'grace.log');
  }

  /** Run a command to its end. */
  async run(...args: string[]): Promise<Outcome> {
    const child = spawn(this.#file, ['-d', this.state, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: commandMs,
      killSignal: 'SIGKILL',
    });
    const outcome: Outcome = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
    [outcome.code] = (await once(child, 'close')) as [number | null];
    return outcome;
  }

  /** Run a command that must succeed; what it printed. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`grace ${args.join(' ')} ended with ${code}: ${(stderr || stdout).trim()}`);
    return stdout;
  }

  /** Wait until a daemon answers, and see which processes there are. */
  async look(): Promise<StatusResult> {
    let status: StatusResult | null = null;
    await until('the daemon answers', async () => {
      const { code, stdout } = await this.run('status', '--json');
      status = code === 0 ? (JSON.parse(stdout) as StatusResult) : null;
      return status !== null;
    });
    const { pid, generations } = status!;
    this.pid = pid;
    this.predecessors = generations.map((generation) => generation.pid).filter((each) => each !== pid);
    return status!;
  }

  async rows(): Promise<DestinationRow[]> {
    return JSON.parse(await this.ok('ls', '--json')) as DestinationRow[];
  }

  /** Have the process that serves die at once. Resolves when it is gone. */
  async kill(): Promise<void> {
    const { pid } = this;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      return; // it has ended already: a restart was faster
    }
    await until(`process ${pid} has ended`, () => !isRunning(pid));
  }

  /** Stop it with all that it has open. */
  async stop(): Promise<void> {
    if (this.keeper.exitCode !== null || this.keeper.signalCode !== null) return;
    const ended = once(this.keeper, 'exit');
    await this.run('stop', '--now');
    const timer = setTimeout(() => this.keeper.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(timer);
  }
}
