/**
 * grace as a user runs it: the built executable, or `deno run -A src/main.ts` with
 * GRACE_TEST_RUNTIME=deno, or from source on Node with GRACE_TEST_RUNTIME=node.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestContext } from 'node:test';
import type { ConnectionRow, DestinationRow, StatusResult } from '../../src/control/shapes.ts';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const runtime = process.env['GRACE_TEST_RUNTIME'] ?? 'executable';

const programs: Record<string, [file: string, ...args: string[]]> = {
  executable: [join(root, 'dist/grace')],
  deno: [join(root, 'node_modules/.bin/deno'), 'run', '-A', join(root, 'src/main.ts')],
  node: [process.execPath, join(root, 'src/main.ts')],
};

/** The program, and the arguments that come before grace's own. */
export const program = programs[runtime]!;

/**
 * An address on which this test process alone listens. A port of 127.0.0.1 that is let go of may be given
 * to a test that runs at the same time, before it is expected to be refused or free here.
 */
export const ownLoopback =
  process.platform === 'linux'
    ? [127, 64 + (process.pid >> 16), (process.pid >> 8) & 255, process.pid & 255].join('.')
    : '127.0.0.1';

export type Outcome = { code: number | null; stdout: string; stderr: string };

export type Grace = {
  dir: string;
  /** Run a command to its end. */
  run(...args: string[]): Promise<Outcome>;
  /** Run a command that must succeed; returns what it printed. */
  ok(...args: string[]): Promise<string>;
  /** Start a command without waiting for its end. */
  spawn(...args: string[]): Running;
  ls(): Promise<DestinationRow[]>;
  /** The open connections, or those of a source. */
  connections(...words: string[]): Promise<ConnectionRow[]>;
  status(): Promise<StatusResult>;
  /** Where the rule with this source listens. */
  port(src: string): Promise<number>;
  log(): string;
};

export type Running = { child: ChildProcess; ended: Promise<Outcome>; outcome: () => Outcome };

/** A grace with a state dir of its own, which is stopped, and looked after, when the test ends. */
export function makeGrace(t: TestContext, env: NodeJS.ProcessEnv = {}): Grace {
  const dir = join(mkdtempSync(join(tmpdir(), 'grace-e2e-')), 'state');
  const start = (...args: string[]): Running =>
    startProgram(['-d', dir, ...(args[0] === 'restart' ? patient(args) : args)], env);
  const run = (...args: string[]) => start(...args).ended;
  const grace: Grace = {
    dir,
    run,
    spawn: start,
    async ok(...args) {
      const { code, stdout, stderr } = await run(...args);
      if (code !== 0)
        throw new Error(`grace ${args.join(' ')} exited with ${code}: ${stderr}${stdout}\n${grace.log()}`);
      return stdout;
    },
    ls: async () => JSON.parse(await grace.ok('ls', '--json')),
    connections: async (...words) => JSON.parse(await grace.ok('ls', '--connections', ...words, '--json')),
    status: async () => JSON.parse(await grace.ok('status', '--json')),
    async port(src) {
      const row = (await grace.ls()).find((each) => each.src === src && each.listening !== '');
      return Number(/:([0-9]+)$/.exec(row?.listening ?? '')?.[1]);
    },
    log: () => (existsSync(join(dir, 'grace.log')) ? readFileSync(join(dir, 'grace.log'), 'utf8') : ''),
  };
  t.after(async () => {
    await run('stop', '--now');
    rmSync(dirname(dir), { recursive: true, force: true });
  });
  return grace;
}

/** A machine that is busy takes longer over the start of a process than the 10 s that a restart has. */
function patient(restart: string[]): string[] {
  return restart.includes('--timeout') ? restart : [...restart, '--timeout', '100s'];
}

/** The log of a daemon in the foreground goes into its state dir too, where tests look. */
function logOf(args: readonly string[]): NodeJS.ProcessEnv {
  const at = args.indexOf('-d');
  return args[at + 2] === 'daemon' ? { GRACE_LOG: join(args[at + 1]!, 'grace.log') } : {};
}

export function startProgram(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  options: { cwd?: string; stdio?: ('ignore' | 'pipe' | number)[] } = {},
): Running {
  const [file, ...before] = program;
  const child = spawn(file, [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...logOf(args), ...env },
    ...options,
  });
  const outcome: Outcome = { code: null, stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      outcome.code = code;
      resolve(outcome);
    });
  });
  return { child, ended, outcome: () => outcome };
}

/** Whether a process is there and no zombie. */
export function isRunning(pid: number): boolean {
  try {
    // One whose first thread has ended is called a zombie too, and keeps its sockets until the last has.
    return (
      !/^[0-9]+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8')) ||
      readdirSync(`/proc/${pid}/task`).length > 1
    );
  } catch {
    return false;
  }
}
