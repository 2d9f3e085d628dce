/** Programs that a benchmark runs. */
import { spawn } from 'node:child_process';
import type { StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSameProcess, processTree, startTime } from './process-tree.ts';

/** Where Debian puts programs that are not in everybody's PATH. */
const furtherPlaces = ['/usr/sbin', '/usr/local/sbin', '/lib/systemd', '/usr/lib/systemd'];

/** Descriptors for each program: a forwarder that splices needs six a connection. Raised where the machine allows it. */
const defaultDescriptors = 65_536;

/** How long a program may take to end when it is asked to. */
const stopTimeoutMs = 2000;

/** The path of a program, or null when it is not installed. A name with a slash is a path already. */
export function findProgram(name: string): string | null {
  const candidates = name.includes('/')
    ? [name]
    : [...(process.env['PATH'] ?? '').split(':'), ...furtherPlaces].map((dir) => join(dir, name));
  return candidates.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export type Running = {
  pid: number;
  /** Resolves when it has ended, by itself or not. */
  ended: Promise<void>;
  /** How it ended and the last that it said, as far as it did either. */
  lastWords(): string;
  /** End it and all its descendants. Twice is fine. */
  stop(): Promise<void>;
};

export type StartOptions = {
  /** File that takes what it prints. */
  output: string;
  env?: Readonly<Record<string, string>>;
  /** Inherited as descriptor 3. */
  descriptor?: number;
  /** How many descriptors it may have. */
  descriptors?: number;
  /** Processors that it may run on, as taskset has them; default all. */
  cpus?: string | null;
  ignoresSigpipe?: boolean;
};

/** Start a program that runs until it is stopped. The pid is its own: a shell raises its limits and becomes it. */
export function start(
  file: string,
  args: readonly string[],
  { output, env = {}, descriptor, descriptors = defaultDescriptors, cpus = null, ignoresSigpipe = false }: StartOptions,
): Running {
  const log = openSync(output, 'a');
  const stdio: StdioOptions = ['ignore', log, log, ...(descriptor === undefined ? [] : [descriptor])];
  const pinned = cpus === null ? [file, ...args] : ['taskset', '-c', cpus, file, ...args];
  // LISTEN_PID is what systemd tells the program that takes an inherited socket; the others do not look at it.
  const script = `${ignoresSigpipe ? "trap '' PIPE; " : ''}ulimit -n ${descriptors} 2>/dev/null || ulimit -n $(ulimit -Hn); LISTEN_PID=$$ exec "$0" "$@"`;
  const child = spawn('/bin/sh', ['-c', script, ...pinned], { stdio, env: { ...process.env, ...env } });
  closeSync(log);
  let ending = '';
  const ended = once(child, 'exit').then(
    ([code, signal]) => void (ending = signal === null ? `ended with code ${code}` : `ended by ${signal}`),
  );
  const pid = child.pid ?? -1;
  return {
    pid,
    ended,
    lastWords() {
      const said = readFileSync(output, 'utf8').trim().split('\n').slice(-2).join(' / ').trim();
      return [ending, said === '' ? 'said nothing' : `said "${said.slice(-300)}"`]
        .filter((part) => part !== '')
        .join(', ');
    },
    async stop() {
      const tree = processTree(pid).map((each) => ({ pid: each, since: startTime(each) }));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
      await ended;
      clearTimeout(timer);
      // Children that a program made for its connections may outlive it.
      for (const each of tree) if (each.pid !== pid && isSameProcess(each)) process.kill(each.pid, 'SIGKILL');
    },
  };
}

export type RunOptions = {
  signal: AbortSignal;
  timeoutMs?: number;
  env?: Readonly<Record<string, string>>;
  cpus?: string | null;
};

/** Run a program to its end; its stdout. Rejects with what it said when it fails, hangs or is interrupted. */
export async function run(
  file: string,
  args: readonly string[],
  { signal, timeoutMs = 30_000, env = {}, cpus = null }: RunOptions,
): Promise<string> {
  signal.throwIfAborted();
  const [command, ...rest] = cpus === null ? [file, ...args] : ['taskset', '-c', cpus, file, ...args];
  const child = spawn(command!, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const end = () => child.kill('SIGKILL');
  limit.addEventListener('abort', end);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (stdout += data));
  child.stderr.on('data', (data: Buffer) => (stderr += data));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    signal.throwIfAborted();
    const name = file.slice(file.lastIndexOf('/') + 1);
    if (limit.aborted) throw new Error(`${name} hung for ${timeoutMs / 1000} s`);
    if (code !== 0) throw new Error(`${name} ended with ${code}: ${(stderr || stdout).trim().slice(-300)}`);
    return stdout + (stdout === '' ? stderr : '');
  } finally {
    limit.removeEventListener('abort', end);
  }
}
