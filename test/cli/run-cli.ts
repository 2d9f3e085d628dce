import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { runCli } from '../../src/cli/cli.ts';
import type { CliOptions } from '../../src/cli/cli.ts';

export type Outcome = { exitCode: number; stdout: string; stderr: string };

/** A stream that keeps what is written to it. */
export class Sink extends Writable {
  text = '';
  columns = 80;
  readonly #onWrite: ((text: string) => void) | undefined;

  constructor(onWrite?: (text: string) => void) {
    super();
    this.#onWrite = onWrite;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.text += chunk.toString();
    this.#onWrite?.(this.text);
    done();
  }
}

/** Run one command line in this process, away from the environment of the test. */
export async function runWords(argv: readonly string[], options: Partial<CliOptions> = {}): Promise<Outcome> {
  const stdout = new Sink();
  const stderr = new Sink();
  const exitCode = await runCli({
    argv,
    env: {},
    cwd: '/nowhere',
    stdout,
    stderr,
    readStdin: () => Promise.resolve(Buffer.alloc(0)),
    isTTY: false,
    signal: new AbortController().signal,
    self: { file: '/bin/false', args: [] },
    version: '1.2.3',
    programs: { daemon: () => Promise.resolve(0), demo: () => Promise.resolve(0) },
    ...options,
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

/** A fresh directory that goes with the test. */
export function openTempDir(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'grace-cli-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
