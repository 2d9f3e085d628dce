/** Programs of others: whether they are there, run to their end, as servers, or talked with line by line. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { ownLoopback, runtime } from '../e2e/grace.ts';
import { killChild } from '../e2e/processes.ts';
import { until } from '../until.ts';

/** A second address of this test process alone, for another way to the same server. */
export const secondLoopback = ownLoopback.replace(/^127\.([0-9]+)/, (_, second) => `127.${Number(second) + 70}`);

/** A directory that goes with the test. */
export function makeDirectory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'grace-program-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** What is missing of these: program, by name or path and with arguments with which it ends well, and its package. */
export function missing(...needs: [command: string, debianPackage: string][]): string | false {
  if (process.platform !== 'linux') return 'the keeper is for Linux';
  if (runtime === 'node') return 'it takes the executable, or Deno';
  for (const [command, debianPackage] of needs)
    if (spawnSync('sh', ['-c', `${command} >/dev/null 2>&1`]).status !== 0) return `it needs ${debianPackage}`;
  return false;
}

export type How = { env?: NodeJS.ProcessEnv; /** For its standard input. */ input?: string };

/** Run a program to its end. Rejects, with what it wrote, unless it ends with 0. Returns what it printed. */
export async function run(file: string, args: readonly string[], { env = {}, input = '' }: How = {}): Promise<string> {
  const child = spawn(file, args, { env: { ...process.env, ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => {}); // it does not read to the end
  child.stdin.end(input);
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== 0)
    throw new Error(`${file} ${args.join(' ')} ended with ${code ?? signal}: ${stderr}${stdout.slice(-2000)}`);
  return stdout;
}

/** Run a server until the test ends; it has to be one that stays in the foreground. Resolves when it accepts. */
export async function startServer(
  t: TestContext,
  file: string,
  args: readonly string[],
  { host, port, env = {} }: { host: string; port: number; env?: NodeJS.ProcessEnv },
): Promise<ChildProcess> {
  const options = { detached: true, env: { ...process.env, ...env } };
  const child = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => killChild(child, { isGroup: true }));
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-10_000)));
  await until(
    () => `${file} listens: ${said}`,
    async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${file} has ended: ${said}`);
      return accepts(host, port);
    },
  );
  return child;
}

async function accepts(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port });
  const isThere = await new Promise<boolean>((resolve) =>
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
  );
  socket.destroy();
  return isThere;
}

export type Session = {
  child: ChildProcessWithoutNullStreams;
  /** The next line that it prints; rejects when it ends before. */
  line(): Promise<string>;
  /** Write it a line, and read one. */
  ask(line: string): Promise<string>;
  /** Resolves with what it wrote to stderr, when it has ended. */
  ended: Promise<string>;
  /** End its input, and wait for its end. */
  end(): Promise<void>;
};

/** Run a client that reads and writes lines, and that stays. */
export function openSession(
  t: TestContext,
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Session {
  const child = spawn(file, args, { env: { ...process.env, ...env } });
  t.after(() => killChild(child));
  let [text, stderr, hasEnded] = ['', '', false];
  let wake = () => {};
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  child.stdin.on('error', () => {}); // it has ended, which the next line tells
  const ended = once(child, 'close').then(() => {
    hasEnded = true;
    wake();
    return stderr;
  });
  const line = async () => {
    for (;;) {
      const end = text.indexOf('\n');
      if (end >= 0) {
        const found = text.slice(0, end);
        text = text.slice(end + 1);
        return found;
      }
      if (hasEnded) throw new Error(`${file} has ended with ${child.exitCode ?? child.signalCode}: ${stderr}${text}`);
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return {
    child,
    line,
    ended,
    async ask(words) {
      child.stdin.write(`${words}\n`);
      return line();
    },
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}
