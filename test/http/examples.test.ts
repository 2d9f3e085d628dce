import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pages, readPage } from '../docs/page.ts';
import { get } from './get.ts';
import { Program } from './program.ts';

const options = { timeout: 60_000 };
const root = fileURLToPath(new URL('../..', import.meta.url));
const deno = path.join(root, 'node_modules/.bin/deno');
const SERVING = /^Serving \S+:(\d+) with pid (\d+)\.$/;

/** A program that finds the library by its name, as who has installed it does. */
function run(file: string, args: readonly string[], runtime: [string, string[]] = [process.execPath, []]): Program {
  return new Program(file, args, { command: [runtime[0], [...runtime[1], file]] });
}

/** A restart with a request under way, and a stop. */
async function walk(program: Program, address = '127.0.0.1'): Promise<void> {
  const [, port, pid] = await program.line(SERVING);
  const where = { host: address, port: Number(port) };
  assert.equal(await get(where), `pid ${pid}\n`);
  const slow = get(where, '/slow');
  await get(where); // answered after the slow one has come
  process.kill(Number(pid), 'SIGUSR2');
  const [, , newPid] = await program.line(SERVING);
  assert.equal(await slow, `pid ${pid}\n`);
  await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
  assert.equal(await get(where), `pid ${newPid}\n`);
  process.kill(Number(newPid), 'SIGTERM');
  await program.ended;
}

for (const name of ['http', 'express', 'fastify', 'hono']) {
  test(`the example for ${name} restarts while a request is under way`, options, async () => {
    await using program = run(path.join(root, 'src/http/examples', `${name}.js`), ['127.0.0.1:0']);
    await walk(program);
  });
}

test('the example for http runs on Deno, with the permissions that the manual names', options, async () => {
  const manual = readPage('src/http/README.md');
  const [, permissions] = /deno run (\S+) server\.ts/.exec(manual) ?? [];
  assert.ok(permissions !== undefined, 'the manual names the permissions');
  await using program = run(
    path.join(root, 'src/http/examples/http.js'),
    ['127.0.0.1:0'],
    [deno, ['run', permissions]],
  );
  await walk(program);
});

test('the example for ws tells its clients of the restart, and they reach the new process', options, async () => {
  await using program = run(path.join(root, 'src/http/examples/ws.js'), ['127.0.0.1:0']);
  const [, port, pid] = await program.line(SERVING);
  const client = await openWebSocket(port!);
  assert.equal(await ask(client), `${pid} heard hello`);
  const closed = once(client, 'close');
  process.kill(Number(pid), 'SIGUSR2');
  const [, , newPid] = await program.line(SERVING);
  const [{ code, reason }] = (await closed) as [{ code: number; reason: string }];
  assert.deepEqual([code, reason], [1012, 'restart']);
  await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
  const again = await openWebSocket(port!);
  assert.equal(await ask(again), `${newPid} heard hello`);
  process.kill(Number(newPid), 'SIGTERM');
  await program.ended;
});

async function openWebSocket(port: string): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}`);
  await once(client, 'open');
  return client;
}

async function ask(client: WebSocket): Promise<string> {
  client.send('hello');
  const [{ data }] = (await once(client, 'message')) as [{ data: string }];
  return data;
}

test('the example for listeners starts a successor when it is asked to, and only then', options, async () => {
  await using program = run(path.join(root, 'src/http/examples/listeners.js'), ['0']);
  await walkListeners(program);
});

async function walkListeners(program: Program): Promise<void> {
  const serving = /^Serving port (\d+) with pid (\d+)$/;
  const [, port, pid] = await program.line(serving);
  assert.equal(await readAll(Number(port)), `hello from ${pid}\n`);
  process.kill(Number(pid), 'SIGUSR2');
  const [, samePort, newPid] = await program.line(serving);
  await once(program.first, 'exit');
  assert.equal(samePort, port);
  assert.equal(await readAll(Number(port)), `hello from ${newPid}\n`);
  process.kill(Number(newPid), 'SIGTERM');
  await program.ended;
  assert.equal(program.output.match(/^Serving/gm)?.length, 2);
}

async function readAll(port: number): Promise<string> {
  return (await net.connect(port, '127.0.0.1').setEncoding('utf8').toArray()).join('');
}

/** The programs in the documentation: blocks of code that import the library. */
const samples = pages().flatMap((page) => {
  const blocks = [...readPage(page).matchAll(/^```(?:ts|js)\n([^]*?)^```$/gm)].map(([, code = '']) => code);
  return blocks.filter((code) => code.includes("from 'grace/")).map((code) => ({ page, code }));
});

for (const { page, code } of samples) {
  test(`the sample in ${page} runs, restarts and stops`, options, async (t) => {
    const directory = fs.mkdtempSync(path.join(root, 'dist/sample-')); // inside the package, which knows its own name
    t.after(() => fs.rmSync(directory, { recursive: true }));
    const file = path.join(directory, 'server.ts');
    // Any free port, and not as long.
    fs.writeFileSync(
      file,
      code.replace("':8080'", "'127.0.0.1:0'").replace('port: 9000', 'port: 0').replace('10_000', '1000'),
    );
    await using program = run(file, []);
    if (code.includes('grace/http')) await walk(program);
    else await walkListeners(program);
  });
}

test('the pages of the library and the first one have samples', () => {
  assert.deepEqual(
    samples.map(({ page }) => page),
    ['README.md', 'src/http/README.md', 'src/net/README.md'],
  );
});
