import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import tls from 'node:tls';
import { makeCertificate } from '../../src/demo/certificate.ts';
import { serve } from '../../src/http/index.ts';
import { Net } from '../../src/net/net.ts';
import { ask, connect, read, start } from './serving.ts';

const options = { timeout: 60_000 };
const certificate = makeCertificate('localhost');

test(
  'a request under way is finished, says that it is the last, and new connections are refused',
  options,
  async () => {
    const server = http.createServer();
    const { port, stop, ended } = await start(server);
    const client = await connect(port);
    client.write(ask);
    const [, response] = (await once(server, 'request')) as [unknown, http.ServerResponse];
    stop();
    await new Promise((resolve) => setImmediate(resolve));
    const [error] = (await once(net.connect(port, '127.0.0.1'), 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNREFUSED');
    response.end('done');
    assert.match(await read(client, /done$/), /^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n/i);
    await once(client, 'end');
    await ended;
  },
);

test('a response that is being streamed is sent to its end', options, async () => {
  const server = http.createServer();
  const { port, stop, ended } = await start(server, { idleGrace: 0 });
  const client = await connect(port);
  client.write(ask);
  const [, response] = (await once(server, 'request')) as [unknown, http.ServerResponse];
  response.write('first');
  await read(client, /first/);
  stop();
  await new Promise((resolve) => setImmediate(resolve));
  response.write('second');
  await read(client, /second/);
  response.end('third');
  await read(client, /third\r\n0\r\n\r\n$/);
  await once(client, 'end');
  await ended;
});

test('an idle connection is closed at once', options, async () => {
  const { port, stop, ended } = await start(
    http.createServer((_, response) => void response.end('hello')),
    { idleGrace: 0 },
  );
  const client = await connect(port);
  client.write(ask);
  await read(client, /hello/);
  stop();
  await once(client, 'end');
  await ended;
});

test('a connection that had its answer a moment ago may ask once more', options, async () => {
  const { port, stop, ended } = await start(
    http.createServer((_, response) => void response.end('hello')),
    { idleGrace: 5000 },
  );
  const client = await connect(port);
  client.write(ask);
  assert.match(await read(client, /hello/), /Connection: keep-alive/i);
  stop();
  client.write(ask);
  assert.match(await read(client, /hello/), /Connection: close/i);
  await once(client, 'end');
  await ended;
});

test('behind an answer that had begun before the stop, the client may ask once more', options, async () => {
  const server = http.createServer((_, response) => void response.writeHead(200, { 'Content-Length': 5 }).write('he'));
  const { port, stop, ended } = await start(server);
  const client = await connect(port);
  client.write(ask);
  const [, response] = (await once(server, 'request')) as [unknown, http.ServerResponse];
  await read(client, /he$/);
  stop();
  await new Promise((resolve) => setImmediate(resolve));
  response.end('llo');
  await read(client, /llo$/);
  server.once('request', (_, next: http.ServerResponse) => void next.end('llo'));
  client.write(ask);
  assert.match(await read(client, /hello$/), /Connection: close/i);
  await once(client, 'end');
  await ended;
});

test('a request that came while the process was not run is answered, however long that was', options, async () => {
  const { port, stop, ended } = await start(
    http.createServer((_, response) => void response.end('hello')),
    { idleGrace: 50 },
  );
  const client = await connect(port);
  client.write(ask);
  await read(client, /hello/);
  stop();
  client.write(ask);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  assert.match(await read(client, /hello/), /Connection: close/i);
  await once(client, 'end');
  await ended;
});

test('a connection whose request has only begun to come is not closed', options, async () => {
  const server = http.createServer((_, response) => void response.end('hello'));
  const { port, stop, ended } = await start(server, { idleGrace: 0 });
  const client = await connect(port);
  client.write(ask.slice(0, 20));
  // The server reads in the order of arrival: when this one is answered, the other has been read.
  const other = await connect(port);
  other.write(ask);
  await read(other, /hello/);
  stop();
  await once(other, 'end');
  client.write(ask.slice(20));
  await read(client, /hello/);
  await once(client, 'end');
  await ended;
});

test('a connection that never asks does not hold up the end', options, async () => {
  const server = http.createServer();
  const { port, stop, ended } = await start(server, { idleGrace: 20 });
  const accepted = once(server, 'connection');
  const client = await connect(port);
  await accepted;
  stop();
  client.resume();
  await once(client, 'end');
  await ended;
});

test(
  'a TLS handshake that never ends does not hold up the end, and an HTTPS request under way is finished',
  options,
  async () => {
    const server = https.createServer(certificate);
    const { port, stop, ended } = await start(server, { idleGrace: 20 });
    const silent = await connect(port);
    silent.resume();
    const client = tls.connect({ port, host: '127.0.0.1', ca: certificate.cert });
    await once(client, 'secureConnect');
    client.write(ask);
    const [, response] = (await once(server, 'request')) as [unknown, http.ServerResponse];
    stop();
    await new Promise((resolve) => setImmediate(resolve));
    response.end('done');
    assert.match(await read(client, /done/), /Connection: close/i);
    await Promise.all([once(client, 'close'), once(silent, 'close')]);
    await ended;
  },
);

test("upgraded connections are the application's to end", options, async () => {
  const server = http.createServer();
  server.on('upgrade', (_, socket: Duplex) => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
  const told: (string | undefined)[] = [];
  const { port, stop, ended } = await start(server, {
    idleGrace: 0,
    endConnection: (socket, request) => {
      told.push(request?.url);
      socket.end('bye');
    },
  });
  const client = await connect(port);
  client.write('GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n');
  await read(client, /101/);
  stop();
  await read(client, /bye/);
  client.end();
  await ended;
  assert.deepEqual(told, ['/chat']);
});

test('an upgrade handler that is added later is heard, and without one requests stay requests', options, async () => {
  const server = http.createServer((_, response) => void response.end('plain'));
  const { port, stop, ended } = await start(server, { idleGrace: 0 });
  const upgrade = 'GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n';
  const first = await connect(port);
  first.write(upgrade);
  await read(first, /plain/);
  server.on('upgrade', (_, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    socket.resume().once('end', () => socket.end());
  });
  const second = await connect(port);
  second.write(upgrade);
  await read(second, /101/);
  stop();
  await once(first, 'end');
  second.end();
  await once(second, 'close');
  await ended;
});

test('connections of a net server end by themselves, or the application ends them', options, async () => {
  const server = net.createServer((socket) => socket.write('hello'));
  const told: unknown[] = [];
  const { port, stop, ended } = await start(server, {
    endConnection: (socket, request) => void told.push(request, socket.end('bye').writable),
  });
  const client = await connect(port);
  await read(client, /hello/);
  stop();
  await read(client, /bye/);
  client.end();
  await ended;
  assert.deepEqual(told, [null, false]);
});

test('what does not end in time is closed', options, async () => {
  const lines: string[] = [];
  const { port, stop, ended } = await start(
    net.createServer((socket) => socket.write('hello')),
    { stopTimeout: 20, log: (line) => lines.push(line) },
  );
  const client = await connect(port);
  await read(client, /hello/);
  stop();
  await once(client, 'close');
  await ended;
  assert.ok(lines.includes('Closing 1 connection that did not end in time.'));
});

test('an HTTP/2 stream under way is finished, and its session ends', options, async () => {
  const server = http2.createServer();
  const { port, stop, ended } = await start(server, { idleGrace: 0 });
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const stream = session.request({ ':path': '/' });
  const [serverStream] = (await once(server, 'stream')) as [http2.ServerHttp2Stream];
  const closed = once(session, 'close');
  serverStream.respond();
  serverStream.write('first');
  await read(stream, /first/);
  stop();
  await once(session, 'goaway');
  serverStream.end('last');
  await read(stream, /last/);
  await closed;
  await ended;
});

test('an idle HTTP/2 session is closed', options, async () => {
  const server = http2.createSecureServer({ ...certificate, allowHTTP1: true });
  const { port, stop, ended } = await start(server, { idleGrace: 0 });
  const session = http2.connect(`https://127.0.0.1:${port}`, { ca: certificate.cert });
  await once(session, 'connect');
  stop();
  await once(session, 'close');
  await ended;
});

test('an HTTP/1 client of an HTTP/2 server is treated as one', options, async () => {
  const server = http2.createSecureServer(
    { ...certificate, allowHTTP1: true },
    (_, response) => void response.end('hello'),
  );
  const { port, stop, ended } = await start(server, { idleGrace: 0 });
  const client = tls.connect({ port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols: ['http/1.1'] });
  client.write(ask);
  await read(client, /hello/);
  stop();
  await once(client, 'close');
  await ended;
});

test('an address that cannot be listened on is an error, and nothing is left open', options, async () => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as net.AddressInfo;
  const servers = [http.createServer(), http.createServer()];
  const ended = serve(
    [
      { server: servers[0]!, address: '127.0.0.1:0' },
      { server: servers[1]!, address: `127.0.0.1:${port}` },
    ],
    { net: new Net({ env: {} }) },
  );
  await assert.rejects(ended, new RegExp(`cannot listen on tcp:127\\.0\\.0\\.1:${port}: address already in use`));
  assert.deepEqual(
    servers.map(({ listening }) => listening),
    [false, false],
  );
  taken.close();
});

test('a single server needs an address, if none is inherited', options, async () => {
  await assert.rejects(
    serve(http.createServer(), { net: new Net({ env: {} }) }),
    /^GraceError: cannot serve: the server has no address/,
  );
});

test('an error of a server is the result, after the rest has ended', options, async () => {
  const server = http.createServer();
  const { port, ended } = await start(server, { idleGrace: 0 });
  server.emit('error', new Error('broken'));
  await assert.rejects(ended, /broken/);
  const [error] = (await once(net.connect(port, '127.0.0.1'), 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});

test('it is over when the application has closed every server', options, async () => {
  const server = http.createServer();
  const { ended } = await start(server);
  server.close();
  await ended;
});
