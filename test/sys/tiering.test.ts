import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const tiering = new URL('../../src/sys/tiering.ts', import.meta.url).href;

/** After how many calls a function is compiled by the compiler that calls C directly. */
const script = (preparation: string) => `
  import { compileSooner } from ${JSON.stringify(tiering)};
  ${preparation}
  const status = new Function('f', 'return %GetOptimizationStatus(f)');
  const isCompiledWell = (f) => (status(f) & (1 << 5)) !== 0;
  const sum = (n) => {
    let total = 0;
    for (let index = 0; index < 10; index++) total += index * n;
    return total;
  };
  let calls = 0;
  while (!isCompiledWell(sum) && calls < 100_000) {
    for (let index = 0; index < 20; index++) sum(calls++);
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(calls);
`;

async function callsUntilCompiled(preparation: string): Promise<number> {
  const { stdout } = await run(process.execPath, [
    '--allow-natives-syntax',
    '--no-concurrent-recompilation', // not while calls go on, and on a busy machine late
    '--input-type=module',
    '-e',
    script(preparation),
  ]);
  return Number(stdout);
}

test('what is called a few hundred times is compiled well by then', { timeout: 60_000 }, async (t) => {
  const [sooner, usual] = [await callsUntilCompiled('compileSooner();'), await callsUntilCompiled('')];
  t.diagnostic(`after ${sooner} calls, else after ${usual}`);
  assert.ok(sooner < usual / 4);
});
