import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const compiler = new URL('../../src/sys/compiler.ts', import.meta.url).href;

/** How often V8 is in the middle of compiling a function, and how often when it was waited for. */
const script = `
  import { awaitCompiler } from ${JSON.stringify(compiler)};
  const isBeingCompiled = new Function('f', 'return (%GetOptimizationStatus(f) & (1 << 8 | 1 << 9)) !== 0');
  const prepare = new Function('f', '%PrepareFunctionForOptimization(f)');
  const optimize = new Function('f', '%OptimizeFunctionOnNextCall(f, "concurrent")');
  const counts = { before: 0, after: 0 };
  for (let round = 0; round < 50; round++) {
    const hot = new Function('n', 'let s = ' + round + '; for (let i = 0; i < n; i++) s += i % 7; return s');
    prepare(hot);
    hot(10);
    optimize(hot);
    hot(10);
    if (isBeingCompiled(hot)) counts.before++;
    awaitCompiler();
    if (isBeingCompiled(hot)) counts.after++;
  }
  console.log(JSON.stringify(counts));
`;

test('whoever waits for the compiler finds nothing being compiled', { timeout: 60_000 }, async () => {
  const { stdout } = await run(process.execPath, [
    '--allow-natives-syntax',
    '--concurrent-recompilation-delay=20',
    '--input-type=module',
    '-e',
    script,
  ]);
  const { before, after } = JSON.parse(stdout) as { before: number; after: number };
  assert.ok(before > 0);
  assert.equal(after, 0);
});
