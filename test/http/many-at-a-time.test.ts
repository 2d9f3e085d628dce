import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { ServerResponse } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import type { Server, Socket } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { makeCertificate } from '../../src/demo/certificate.ts';
import { serve } from '../../src/http/index.ts';
import { Net } from '../../src/net/net.ts';
import { ask, connect, read, start } from './serving.ts';

const options = { timeout: 60_000 };
const certificate = makeCertificate('localhost');
const hello: http.RequestListener = (_, response) => void response.end('hello');

/** A server whose responses are given one after the other, in the order of their requests. */
function collect(server: Server, count: number): Promise<ServerResponse[]> {
  const responses: ServerResponse[] = [];
  return new Promise((resolve) => {
    server.on('request', (_, response: ServerResponse) => {
      if (responses.push(response) === count) resolve(responses);
    });
  });
}

async function readToEnd(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  await once(socket, 'end');
  return text;
}

const kinds = [
  ['http', () => http.createServer(), connect],
  ['https', () => https.createServer(certificate), connectTls],
  ['HTTP/1 on http2', () => http2.createSecureServer({ ...certificate, allowHTTP1: true }), connectTls],
] as const;

for (const [kind, make, dial] of kinds) {
  test(`pipelined requests that a server has are all answered, and the last says so (${kind})`, options, async () => {
    const server = make();
    const all = collect(server, 5);
    const { port, stop, ended } = await start(server);
    const client = await dial(port);
    client.write(ask.repeat(5));
    const responses = await all;
    stop();
    await new Promise((resolve) => setImmediate(resolve));
    // Not in their order: each waits for those before it.
    for (const index of [1, 0, 4, 2, 3]) responses[index]!.end(`answer ${index}`);
    const text = await readToEnd(client);
    assert.deepEqual(text.match(/answer \d/g), ['answer 0', 'answer 1', 'answer 2', 'answer 3', 'answer 4']);
    assert.equal(text.match(/Connection: close/gi)?.length, 1);
    await ended;
  });
}

for (const [kind, make, dial] of kinds) {
  test(`pipelined requests that are answered at once while stopping are all answered (${kind})`, options, async () => {
    let count = 0;
    const server = make();
    const first = Promise.withResolvers<ServerResponse>();
    server.on('request', (_, response: ServerResponse) => {
      if (count++ === 0) first.resolve(response);
      else response.end(`answer ${count}`);
    });
    const { port, stop, ended } = await start(server);
    const client = await dial(port);
    client.write(ask);
    (await first.promise).end('answer 1');
    await read(client, /answer 1/);
    stop();
    client.write(ask.repeat(4));
    const text = await readToEnd(client);
    assert.deepEqual(text.match(/answer \d/g), ['answer 2', 'answer 3', 'answer 4', 'answer 5']);
    assert.equal(text.match(/Connection: close/gi)?.length, 1);
    await ended;
  });
}

test('a client that goes on sending gets its last answer, and what is behind it is not done', options, async () => {
  const server = http.createServer();
  const body = 'x'.repeat(100_000);
  let heard = 0;
  server.on('request', (_, response: ServerResponse) => {
    heard++;
    setImmediate(() => response.end(body));
  });
  const { port, stop, ended } = await start(server);
  const client = await connect(port);
  let text = '';
  const errors: unknown[] = [];
  client.on('error', ({ code }: NodeJS.ErrnoException) => errors.push(code));
  client.on('data', (chunk: string) => {
    const before = text.split('HTTP/1.1 200').length;
    text += chunk;
    // One request more for each answer: there always are ten on their way.
    client.write(ask.repeat(text.split('HTTP/1.1 200').length - before));
    if (before > 10) stop();
  });
  client.write(ask.repeat(10));
  await new Promise((resolve) => client.once('close', resolve));
  await ended;
  // EPIPE: of what it writes once it has heard of the end.
  assert.ok(
    errors.every((code) => code === 'EPIPE'),
    String(errors),
  );
  assert.equal(text.match(/Connection: close/gi)?.length, 1);
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, heard);
  assert.ok(text.endsWith(body));
});

async function connectTls(port: number): Promise<Socket> {
  const socket = tls.connect({ port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols: ['http/1.1'] });
  await once(socket, 'secureConnect');
  return socket.setEncoding('utf8');
}

test('requests that come behind one under way while stopping are answered too', options, async () => {
  const server = http.createServer();
  const all = collect(server, 3);
  const { port, stop, ended } = await start(server);
  const client = await connect(port);
  client.write(ask);
  await once(server, 'request');
  stop();
  await new Promise((resolve) => setImmediate(resolve));
  client.write(ask.repeat(2));
  for (const [index, response] of (await all).entries()) response.end(`answer ${index}`);
  const text = await readToEnd(client);
  assert.deepEqual(text.match(/answer \d/g), ['answer 0', 'answer 1', 'answer 2']);
  await ended;
});

test('answers that are ready behind a slow one are not lost when it says nothing of the end', options, async () => {
  const server = http.createServer();
  const all = collect(server, 3);
  const { port, stop, ended } = await start(server, { idleGrace: 10 });
  const client = await connect(port);
  client.write(ask.repeat(3));
  const [first, second, third] = await all;
  second!.end('answer 1');
  third!.end('answer 2'); // its head is written: it cannot say any more that it is the last
  stop();
  await new Promise((resolve) => setImmediate(resolve));
  first!.end('answer 0');
  assert.deepEqual((await readToEnd(client)).match(/answer \d/g), ['answer 0', 'answer 1', 'answer 2']);
  await ended;
});

for (const [kind, makeServer] of [
  ['without TLS', () => http2.createServer()],
  ['with TLS', () => http2.createSecureServer(certificate)],
] as const) {
  const open = (port: number): http2.ClientHttp2Session =>
    http2
      .connect(`http${kind === 'with TLS' ? 's' : ''}://127.0.0.1:${port}`, { ca: certificate.cert })
      .on('error', () => {});

  test(`streams that come together at a stop are all answered (HTTP/2 ${kind})`, options, async () => {
    const server = makeServer().on('request', hello);
    const { port, stop, ended } = await start(server, { idleGrace: 5000 });
    const session = open(port);
    await answer(session);
    stop();
    assert.deepEqual(await Promise.all(Array.from({ length: 5 }, () => answer(session))), Array(5).fill('hello'));
    await ended;
    if (!session.closed) await once(session, 'close');
  });

  test(`streams under way are finished, and then their session is closed (HTTP/2 ${kind})`, options, async () => {
    const server = makeServer();
    const all = collect(server, 5);
    const { port, stop, ended } = await start(server, { idleGrace: 0 });
    const session = open(port);
    const answers = Array.from({ length: 5 }, () => answer(session));
    const responses = await all;
    const [goaway, closed] = [once(session, 'goaway'), once(session, 'close')];
    stop();
    await goaway;
    for (const response of responses) response.end('hello');
    assert.deepEqual(await Promise.all(answers), Array(5).fill('hello'));
    await Promise.all([closed, ended]);
  });

  test(`no answer that was cut off looks whole (HTTP/2 ${kind})`, options, async () => {
    const server = makeServer().on('request', (_, response: ServerResponse) => void response.write('a part'));
    const { port, stop, ended } = await start(server, { stopTimeout: 20 });
    const session = open(port);
    const streams = Array.from({ length: 5 }, () => session.request({ ':path': '/' }));
    await Promise.all(streams.map((stream) => once(stream, 'response')));
    const failures = streams.map(
      async (stream) => ((await once(stream.resume(), 'error')) as [NodeJS.ErrnoException])[0].code,
    );
    stop();
    assert.deepEqual(await Promise.all(failures), Array(5).fill('ERR_HTTP2_STREAM_ERROR'));
    await ended;
  });
}

async function answer(session: http2.ClientHttp2Session): Promise<string> {
  let text = '';
  for await (const chunk of session.request({ ':path': '/' }).setEncoding('utf8')) text += chunk;
  return text;
}

test('one stop ends servers of every kind, each with a client', options, async () => {
  const servers: Server[] = [
    http.createServer(hello),
    https.createServer(certificate, hello),
    http2.createServer(hello as never),
    http2.createSecureServer({ ...certificate, allowHTTP1: true }, hello as never),
    net.createServer((socket) => socket.write('hello')),
    tls.createServer(certificate, (socket) => socket.write('hello')),
  ];
  const controller = new AbortController();
  const listening = Promise.withResolvers<number[]>();
  const ended = serve(
    servers.map((server) => ({ server, address: '127.0.0.1:0' })),
    {
      net: new Net({ env: {} }),
      signal: controller.signal,
      idleGrace: 0,
      endConnection: (socket) => void socket.end(),
      onListening: ({ listeners }) =>
        listening.resolve(listeners.map(({ address }) => (address.family === 'unix' ? 0 : address.port))),
    },
  );
  const [plain, secure, session, secureSession, raw, rawTls] = await listening.promise;
  const clients = [await connect(plain!), await connectTls(secure!), await connect(raw!), await connectTls(rawTls!)];
  for (const client of clients.slice(0, 2)) client.write(ask);
  await Promise.all(clients.map((client) => read(client, /hello/)));
  const sessions = [
    http2.connect(`http://127.0.0.1:${session}`),
    http2.connect(`https://127.0.0.1:${secureSession}`, { ca: certificate.cert }),
  ];
  assert.deepEqual(await Promise.all(sessions.map(answer)), ['hello', 'hello']);
  const closed = [...clients, ...sessions].map((client) =>
    once(
      client.on('end', () => 'end' in client && client.end()),
      'close',
    ),
  );
  controller.abort();
  await Promise.all([ended, ...closed]);
});

test('a TLS handshake that never ends does not hold up the end of a tls server', options, async () => {
  const server = tls.createServer(certificate);
  const { port, stop, ended } = await start(server, { idleGrace: 20 });
  const accepted = once(server, 'connection');
  const silent = await connect(port);
  await accepted;
  stop();
  await once(silent.resume(), 'close');
  await ended;
});

test('an error of a server while it stops does not end the patience with the others', options, async () => {
  const server = http.createServer();
  const all = collect(server, 1);
  const { port, stop, ended } = await start(server);
  const client = await connect(port);
  client.write(ask);
  const [response] = await all;
  stop();
  await new Promise((resolve) => setImmediate(resolve));
  server.emit('error', new Error('of no importance'));
  await new Promise((resolve) => setImmediate(resolve));
  response!.end('whole');
  assert.match(await readToEnd(client), /whole$/);
  await ended;
});
