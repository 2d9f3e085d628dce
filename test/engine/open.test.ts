import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const isDeno = 'Deno' in globalThis;
const script = new URL('fixtures/which-engine.ts', import.meta.url).pathname;

async function whichEngine(args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [...args, script]);
  return stdout.trim();
}

test(
  'where the system can be called the native engine is chosen',
  { timeout: 60_000, skip: process.platform !== 'linux' },
  async () => {
    assert.equal(
      await whichEngine(isDeno ? ['run', '-A', '--no-check'] : ['--disable-warning=ExperimentalWarning']),
      'native: 1 thread',
    );
  },
);

test(
  'where C cannot be called the portable engine is chosen, and the reason said',
  { timeout: 60_000, skip: process.platform !== 'linux' },
  async () => {
    const without = isDeno
      ? ['run', '--deny-ffi', '--allow-read', '--allow-env', '--allow-sys', '--allow-net', '--no-prompt', '--no-check']
      : ['--no-experimental-ffi'];
    assert.match(
      await whichEngine(without),
      /^portable: the native one cannot run here: .*(foreign function interface|--allow-ffi)/,
    );
  },
);
