import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const skip = 'Deno' in globalThis && 'Deno has no such warning';
const libc = new URL('../../src/sys/libc.ts', import.meta.url).href;

test("calling C prints no warning of its own, and hides nobody else's", { skip, timeout: 60_000 }, async () => {
  const script = `
    const { libc } = await import(${JSON.stringify(libc)});
    process.emitWarning('an earlier one', 'ExperimentalWarning');
    libc().close(-1);
    process.emitWarning('FFI is fine', 'Warning');
    process.emitWarning('a later one', 'ExperimentalWarning');`;
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  const warnings = stderr.split('\n').flatMap((line) => /Warning: (.*)/.exec(line)?.[1] ?? []);
  assert.deepEqual(warnings, ['an earlier one', 'FFI is fine', 'a later one']);
});

test('without a foreign function interface the error says what to use', { skip, timeout: 60_000 }, async () => {
  const script = `
    const { libc } = await import(${JSON.stringify(libc)});
    try { libc(); } catch (error) { console.log(error.name, error.hint); }`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--no-experimental-ffi',
    '--input-type=module',
    '-e',
    script,
  ]);
  assert.match(stdout, /^GraceError use Node 26/);
});
