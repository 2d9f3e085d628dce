import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { crash, disturb, engines, meanwhile, startForward } from './forward.ts';
import { missing } from './program.ts';
import { pemFiles } from '../e2e/pem-files.ts';

/** A server that says back what it hears. */
async function startEcho(t: TestContext): Promise<string> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) =>
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
  await once(server, 'listening');
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function say(socket: WebSocket, data: Buffer): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  const closed = once(socket, 'close', { signal }).then(() => ['nothing, it was closed']);
  const answer = Promise.race([once(socket, 'message', { signal }), closed]);
  socket.send(data);
  const [heard] = await answer;
  over.abort();
  assert.deepEqual(heard, data);
}

const kinds = [...engines.map((engine) => ({ engine, isSecure: false })), { engine: engines[0], isSecure: true }];

for (const { engine, isSecure } of kinds)
  test(
    `WebSockets ${isSecure ? 'with TLS that grace ends ' : ''}notice nothing; a crash refuses nobody (${engine})`,
    { timeout: 120_000, skip: missing() },
    async (t) => {
      const pem = pemFiles(t);
      const ca = readFileSync(pem.root);
      const src = isSecure ? `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}` : undefined;
      const forward = await startForward(t, {
        ways: [await startEcho(t), await startEcho(t)],
        engine,
        ...(src === undefined ? {} : { src }),
      });
      const open = async () => {
        const socket = new WebSocket(`${isSecure ? 'wss' : 'ws'}://127.0.0.1:${forward.port}/`, { ca });
        t.after(() => socket.terminate());
        await once(socket, 'open');
        return socket;
      };
      const newcomer = async () => {
        const socket = await open();
        await say(socket, Buffer.from('hello'));
        socket.close();
        assert.equal((await once(socket, 'close'))[0], 1005);
      };
      const sockets = await Promise.all(Array.from({ length: 10 }, open));
      const [first, ...rest] = sockets as [WebSocket, ...WebSocket[]];
      let messages = 0;
      const talk = async () => {
        for (const size of [1, 1000, 100_000])
          await Promise.all(rest.map((socket, index) => say(socket, Buffer.alloc(size, index + (messages % 100)))));
        messages += 3 * rest.length;
      };
      await meanwhile(talk, disturb(forward, { session: () => say(first, Buffer.from('still here')), newcomer }));
      t.diagnostic(`${messages} messages, said back by the same servers`);
      // What the daemon has that is killed is closed; what stayed in an older process at a restart is that one's.
      const young = await open();
      const closed = once(young, 'close');
      await crash(forward, newcomer);
      assert.equal((await closed)[0], 1006);
      if (engine === 'portable') await talk();
    },
  );
