/**
 * `npm test`: build, then run every test on Node; then those that a second runtime must pass on Deno.
 * The end-to-end tests run the built executable, and again `deno run src/main.ts`.
 *
 *     npm test                     everything
 *     npm test -- test/net/*.ts    these files on Node alone
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { build, buildLibrary, root } from './build.ts';

/** Longest that the whole of the tests may take on one runtime, in milliseconds. */
const limitMs = 60 * 60_000;

async function testFiles(below: string): Promise<string[]> {
  const entries = await readdir(join(root, below), { recursive: true });
  return entries
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(below, name))
    .sort();
}

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const child = spawn(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
    timeout: limitMs,
  });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  if (signal) console.error(`${command} was ended by ${signal}`);
  return code ?? 1;
}

const chosen = process.argv.slice(2);
await build();
await buildLibrary();
// A test that fails may leave open what keeps its process alive: the rest is not to wait for that.
const how = [
  '--import',
  './test/preload.ts',
  '--test',
  '--test-concurrency=2',
  '--test-force-exit',
  '--test-reporter=spec',
  '--test-reporter-destination=stdout',
];
const all = await testFiles('test');
const onNode = await run(process.execPath, [...how, ...(chosen.length > 0 ? chosen : all)]);
if (chosen.length > 0 || onNode !== 0) process.exit(onNode);

console.log('\nThe same command line on Deno:');
const onDeno = await run(process.execPath, [...how, ...(await testFiles('test/e2e'))], { GRACE_TEST_RUNTIME: 'deno' });
process.exit(onDeno);
