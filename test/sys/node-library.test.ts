import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const skip = 'Deno' in globalThis && 'Deno has no such warning';
const run = promisify(execFile);
const library = new URL('../../src/sys/library.ts', import.meta.url).href;
const libc = new URL('../../src/sys/libc.ts', import.meta.url).href;

test("calling C prints no warning of its own, and hides nobody else's", { skip, timeout: 60_000 }, async () => {
  const script = `
    const { libc } = await import(${JSON.stringify(libc)});
    process.emitWarning('an earlier one', 'ExperimentalWarning');
    libc().close(-1);
    process.emitWarning('FFI is fine', 'Warning');
    process.emitWarning('a later one', 'ExperimentalWarning');`;
  const { stderr } = await run(process.execPath, ['--input-type=module', '-e', script]);
  const warnings = stderr.split('\n').flatMap((line) => /Warning: (.*)/.exec(line)?.[1] ?? []);
  assert.deepEqual(warnings, ['an earlier one', 'FFI is fine', 'a later one']);
});

test(
  'a function of one word is called as one of two, and found without a search',
  { skip, timeout: 60_000 },
  async () => {
    const script = `
    const { openFunctions } = await import(${JSON.stringify(library)});
    const { functions, memory } = openFunctions({
      strlen: { args: ['word'], result: 'u64' },
      memcmp: { args: ['word', 'word', 'word'], result: 'i32' },
      close: { args: ['word'], result: 'i32' },
    });
    const text = new Uint8Array(new ArrayBuffer(8)).fill(97, 0, 5);
    const address = memory.addressOf(text);
    const lengths = () => functions.strlen(address) + functions.strlen(address + 3n);
    const isCompiled = new Function('f', 'return (%GetOptimizationStatus(f) & (1 << 5)) !== 0');
    for (let round = 0; round < 1e6 && !isCompiled(lengths); round++) lengths();
    const isFast = new Function('object', 'return %HasFastProperties(object)');
    console.log(isCompiled(lengths), lengths(), functions.close(2n ** 32n - 1n), isFast(functions), text.length);`;
    const flags = ['--allow-natives-syntax', '--no-concurrent-recompilation'];
    const { stdout } = await run(process.execPath, [...flags, '--no-warnings', '--input-type=module', '-e', script]);
    assert.equal(stdout, 'true 7n -1 true 8\n');
  },
);

test('without a foreign function interface the error says what to use', { skip, timeout: 60_000 }, async () => {
  const script = `
    const { libc } = await import(${JSON.stringify(libc)});
    try { libc(); } catch (error) { console.log(error.name, error.hint); }`;
  const { stdout } = await run(process.execPath, ['--no-experimental-ffi', '--input-type=module', '-e', script]);
  assert.match(stdout, /^GraceError use Node 26/);
});
