import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { call } from '../../src/control/client.ts';
import { readLines } from '../../src/control/lines.ts';
import { statePaths } from '../../src/control/paths.ts';

const timeout = 30_000;

/** Something at the control socket that hears each request. */
async function startControl(t: TestContext, hear: (command: string, socket: Socket) => void): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'grace-silence-'));
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    void (async () => {
      for await (const line of readLines(socket)) hear((line as { command: string }).command, socket);
    })().catch(() => {});
  }).listen(statePaths(dir).socket);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
    rmSync(dir, { recursive: true });
  });
  return dir;
}

test('a daemon that takes its time over a request, and answers others, is waited for', { timeout }, async (t) => {
  let waiting: Socket | undefined;
  let asked = 0;
  const dir = await startControl(t, (command, socket) => {
    if (command === 'ls') waiting = socket;
    else socket.end('{"result":{}}\n');
    if (command === 'generation-report' && ++asked === 2) waiting?.end('{"result":{"rows":[]}}\n');
  });
  assert.deepEqual(await call(dir, { command: 'ls' }), { rows: [] });
});

test('a daemon that answers nobody is said not to answer within 5 s', { timeout }, async (t) => {
  const dir = await startControl(t, () => {});
  const began = performance.now();
  await assert.rejects(call(dir, { command: 'ls' }), { message: `the daemon in ${dir} does not answer` });
  assert.ok(performance.now() - began < 5000);
});

test('a daemon that closes every connection without a word is given up on after some 5 s', { timeout }, async (t) => {
  let asked = 0;
  const dir = await startControl(t, (_, socket) => {
    asked++;
    socket.end();
  });
  const began = performance.now();
  await assert.rejects(call(dir, { command: 'ls' }), {
    message: `the daemon in ${dir} does not answer: it closes every connection without a word`,
  });
  assert.ok(performance.now() - began < 8000);
  assert.ok(asked > 2 && asked <= 120, `asked ${asked} times`);
});

test('a daemon that went away without a word, and is there again, has answered', { timeout }, async (t) => {
  let asked = 0;
  const dir = await startControl(t, (_, socket) => socket.end(++asked > 3 ? '{"result":{"rows":[]}}\n' : ''));
  assert.deepEqual(await call(dir, { command: 'ls' }), { rows: [] });
});
