import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The command line that runs a TypeScript file with the runtime of the test. */
export function runFile(file: string): [string, string[]] {
  const program = fileURLToPath(new URL(`./fixtures/${file}`, import.meta.url));
  return 'Deno' in globalThis
    ? [process.execPath, ['run', '-A', '--no-check', program]]
    : [process.execPath, [program]];
}

export type ProgramOptions = {
  env?: Record<string, string>;
  /** What is started instead of the runtime with the file. */
  command?: [string, string[]];
  /** Its descriptors from 3 on. */
  inherited?: number[];
};

/** A line that does not come is a failure with the output in it, before the test's own time is over. */
const LINE_TIMEOUT_MS = 50_000;

/** A server program of fixtures/ and the processes that follow it; they all write to the same output. */
export class Program implements AsyncDisposable {
  readonly first: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiting: {
    pattern: RegExp;
    from: number;
    resolve: (match: RegExpExecArray) => void;
    reject: (error: Error) => void;
  }[] = [];
  readonly #ended: Promise<void>;
  /** Types stripped once, not in every process: that is most of the time that one takes to start. */
  readonly #cache = fs.mkdtempSync(path.join(os.tmpdir(), 'grace-test-'));
  #read = 0;

  constructor(file: string, args: readonly string[], { env = {}, command, inherited = [] }: ProgramOptions = {}) {
    const [program, before] = command ?? runFile(file);
    this.first = spawn(program, [...before, ...args], {
      stdio: ['ignore', 'pipe', 'inherit', ...inherited],
      env: { ...process.env, NODE_COMPILE_CACHE: this.#cache, ...env },
    });
    const lines = createInterface({ input: this.first.stdout! });
    lines.on('line', (line) => {
      this.#lines.push(line);
      this.#settle();
    });
    // The end of the output is the end of the last process that holds it.
    this.#ended = once(lines, 'close').then(() => {
      for (const { pattern, reject } of this.#waiting.splice(0)) reject(this.#noLine(pattern));
    });
  }

  /** The first line that matches and that no earlier call has passed by. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    const found = Promise.withResolvers<RegExpExecArray>();
    this.#waiting.push({ pattern, from: this.#read, ...found });
    this.#settle();
    const timer = setTimeout(() => found.reject(this.#noLine(pattern)), LINE_TIMEOUT_MS);
    try {
      return await found.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  get output(): string {
    return this.#lines.join('\n');
  }

  /** Resolves when no process of it runs any more. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  #noLine(pattern: RegExp): Error {
    return new Error(`no line ${pattern} in:\n${this.output}`);
  }

  #settle(): void {
    for (const waiting of this.#waiting.slice()) {
      for (let i = waiting.from; i < this.#lines.length; i++) {
        const match = waiting.pattern.exec(this.#lines[i]!);
        if (match === null) continue;
        this.#read = i + 1;
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        waiting.resolve(match);
        break;
      }
    }
  }

  /** Kill every process that said it serves, and wait for the end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const pids = this.#lines.flatMap((line) => /^Serving .* with pid ([0-9]+)/.exec(line)?.[1] ?? []);
    for (const pid of new Set([...pids, String(this.first.pid)])) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended already.
      }
    }
    await this.#ended;
    fs.rmSync(this.#cache, { recursive: true });
  }
}
