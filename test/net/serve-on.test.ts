import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import type { Server } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { makeCertificate } from '../../src/demo/certificate.ts';
import { openListener } from '../../src/net/open.ts';
import { serveOn } from '../../src/net/serve-on.ts';
import { listenQueueLength } from '../../src/sys/listen-queue.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { timeout: 60_000 };
const certificate = makeCertificate('localhost');

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

type Case = { name: string; server: Server; ask: (port: number) => Promise<string> };

function cases(): Case[] {
  const hello: http.RequestListener = (_, response) => void response.end('hello');
  const httpGet = (get: typeof http.get, more: object) => (port: number) =>
    new Promise<string>((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent: false, ...more }, (response) => resolve(readAll(response))).on(
        'error',
        reject,
      );
    });
  const http2Get = (scheme: string) => async (port: number) => {
    const session = http2.connect(`${scheme}://127.0.0.1:${port}`, { ca: certificate.cert });
    const text = await readAll(session.request({ ':path': '/' }));
    session.close();
    return text;
  };
  return [
    {
      name: 'net',
      server: net.createServer((socket) => socket.end('hello')),
      ask: (port) => readAll(net.connect(port, '127.0.0.1')),
    },
    {
      name: 'tls',
      server: tls.createServer(certificate, (socket) => socket.end('hello')),
      ask: (port) => readAll(tls.connect({ port, host: '127.0.0.1', ca: certificate.cert })),
    },
    { name: 'http', server: http.createServer(hello), ask: httpGet(http.get, {}) },
    {
      name: 'https',
      server: https.createServer(certificate, hello),
      ask: httpGet(https.get, { ca: certificate.cert }),
    },
    { name: 'http2', server: http2.createServer((_, response) => void response.end('hello')), ask: http2Get('http') },
    {
      name: 'http2 over TLS',
      server: http2.createSecureServer(certificate, (_, response) => void response.end('hello')),
      ask: http2Get('https'),
    },
  ];
}

for (const { name, server, ask } of cases()) {
  test(`a ${name} server accepts on a listener, and closing it closes the listener`, options, async () => {
    const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: '' });
    await serveOn(server, listener);
    assert.ok(listener.address.family !== 'unix');
    const { port } = listener.address;
    assert.equal(await ask(port), 'hello');
    if (process.platform === 'linux')
      assert.equal(listenQueueLength(listener.fd, { family: 'inet', inode: listener.inode }), 50);
    const closed = once(server, 'close');
    server.close();
    assert.equal(listener.isOpen, false);
    const [error] = (await once(net.connect(port, '127.0.0.1'), 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNREFUSED');
    await closed;
  });
}

test('a server accepts on a Unix socket and leaves its file alone', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const listener = await openListener({ kind: 'unix', path, mode: 0o600, backlog: 50 }, { name: '' });
  const server = net.createServer((socket) => socket.end('hello'));
  await serveOn(server, listener);
  assert.equal(await readAll(net.connect(path)), 'hello');
  const again = await openListener({ kind: 'unix', path: temp.file('t'), mode: 0o600, backlog: 50 }, { name: '' });
  server.close();
  await once(server, 'close');
  const [error] = (await once(net.connect(path), 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
  again.close();
});

test('a client that connects before any server accepts is served', options, async () => {
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: '' });
  assert.ok(listener.address.family !== 'unix');
  const answer = readAll(net.connect(listener.address.port, '127.0.0.1'));
  const server = net.createServer((socket) => socket.end('hello'));
  await serveOn(server, listener);
  assert.equal(await answer, 'hello');
  server.close();
  await once(server, 'close');
});
