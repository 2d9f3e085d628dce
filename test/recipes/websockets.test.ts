import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { ownLoopback } from '../e2e/grace.ts';
import { blocksOf, makePlace, openShell } from './recipe.ts';

/** A server that says back what it hears, with its name. */
async function startServer(t: TestContext, name: string): Promise<{ dst: string; server: WebSocketServer }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) => socket.on('message', (data) => socket.send(`${name} ${data}`)));
  await once(server, 'listening');
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { dst: `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

async function say(socket: WebSocket, text: string): Promise<string> {
  const heard = once(socket, 'message');
  socket.send(text);
  return String((await heard)[0]);
}

test(
  'the recipe for WebSockets: an open one survives a switch and a restart, and comes again when it is asked to',
  { timeout: 120_000, skip: process.platform !== 'linux' },
  async (t) => {
    const [blue, green] = [await startServer(t, 'blue'), await startServer(t, 'green')];
    const { env } = makePlace(t);
    const shell = openShell(t, {
      env: { ...env, CHAT: `tcp:8080:interface=${ownLoopback}`, BLUE: blue.dst, GREEN: green.dst },
    });
    const [start = '', change = '', wait = '', ...more] = blocksOf('WebSockets');
    assert.deepEqual(more, []);
    const open = async () => {
      const socket = new WebSocket(`ws://${ownLoopback}:8080/`);
      t.after(() => socket.terminate());
      await once(socket, 'open');
      return socket;
    };

    assert.equal(await shell.run(start), 'Started\n');
    const old = await open();
    assert.equal(await say(old, 'one'), 'blue one');
    const long = 'x'.repeat(300_000);
    const talk = (async () => {
      for (let round = 0; round < 200; round++) assert.equal(await say(old, `${round}${long}`), `blue ${round}${long}`);
    })();
    talk.catch(() => {}); // it is awaited below
    const changed = await shell.run(change);
    assert.match(changed, /^Switched\nRestarted: .*\n/);
    assert.match(changed, / 1 +inactive +chat$/m);
    await talk;
    const young = await open();
    assert.equal(await say(young, 'two'), 'green two');
    assert.equal(await say(old, 'three'), 'blue three');

    const waited = shell.run(wait);
    const closed = once(old, 'close');
    for (const socket of blue.server.clients) socket.close(1012, 'restart');
    assert.equal((await closed)[0], 1012);
    await waited;
    assert.equal(await say(await open(), 'four'), 'green four');
  },
);
