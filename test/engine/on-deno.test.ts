/** The tests of the engines and of the library once more, on Deno: each file in a process of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const here = dirname(fileURLToPath(import.meta.url));
const deno = join(dirname(createRequire(import.meta.url).resolve('deno/package.json')), 'bin.cjs');
// Not native/death: a thread that loops cannot be ended there, and would run beside all that follows.
const files = [
  'native/plain',
  'native/threads',
  'native/move',
  'native/kernel',
  'native/first-flight',
  'portable',
  'portable/checked-clients',
  'open',
  'faults',
  'soak',
  'http-check',
  // What strangers send is read there as here.
  'fuzz-proxy-header',
  'fuzz-client-hello',
  '../control/fuzz',
  // The library ends servers of node:http there, which are other ones.
  '../http/stop',
  '../http/many-at-a-time',
  '../http/successor',
  '../http/hand-over',
];

for (const file of files) {
  test(`${file}.test.ts passes on Deno`, { timeout: 400_000, skip: process.platform !== 'linux' }, async (t) => {
    const child = spawn(process.execPath, [deno, 'test', '-A', '--no-check', join(here, `${file}.test.ts`)], {
      env: { ...process.env, NO_COLOR: '1' },
      signal: t.signal,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    const [code] = await once(child, 'close');
    assert.equal(code, 0, output);
    t.diagnostic(/^ok \| .*$/m.exec(output)?.[0] ?? '');
  });
}
