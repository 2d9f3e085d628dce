/** What a destination is asked over HTTP, and what is said of its answers. Runs on Deno too. */
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { once } from 'node:events';
import { test } from 'node:test';
import type { AddressInfo } from 'node:net';
import { GraceError } from '../../src/error.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import { Rig, to } from './rig.ts';
import { pemFiles, read, sslTo, tlsTo } from './tls-peers.ts';

const pem = pemFiles();
const question = { path: '/up?full=1', least: 200, most: 399, timeoutMs: 50_000, userAgent: 'grace/1.2.3' };
const options = { timeout: 60_000 };
const signal = () => AbortSignal.timeout(50_000);

/** A server of bytes: what it says to whoever comes, at once or after the first bytes of the client. */
async function openServer(
  onClient: (socket: net.Socket) => void,
  { path, secure }: { path?: string; secure?: tls.TlsOptions } = {},
): Promise<AsyncDisposable & { port: number; path: string; requests: string[] }> {
  const requests: string[] = [];
  const sockets = new Set<net.Socket>();
  const hear = (socket: net.Socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => requests.push(chunk.toString()));
    onClient(socket);
  };
  const server = secure ? tls.createServer({ ...secure }, hear) : net.createServer(hear);
  server.on('connection', (socket: net.Socket) => sockets.add(socket));
  server.on('tlsClientError', () => {});
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  return {
    port: path === undefined ? (server.address() as AddressInfo).port : 0,
    path: path ?? '',
    requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const long = `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`;
const answers: [what: string, answer: string, ends: boolean, expected: RegExp | null][] = [
  ['200', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', true, null],
  ['a redirect of HTTP/1.0, without a reason or a space before it', 'HTTP/1.0 302\r\n\r\n', true, null],
  ['lines that end without a return', 'HTTP/1.1 204 No Content\nA: b\n\n', true, null],
  [
    'interim answers before it',
    'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    false,
    null,
  ],
  [
    'interim answers before a bad one',
    'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n',
    false,
    /^GET \/up\?full=1: answered 500, not 200-399$/,
  ],
  [
    '503',
    'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n',
    false,
    /^GET \/up\?full=1: answered 503, not 200-399$/,
  ],
  ['400, however it is meant', 'HTTP/1.1 400 Bad Request\r\n\r\n', true, /answered 400/],
  [
    'the greeting of SSH',
    'SSH-2.0-OpenSSH_9.2p1 "x"\r\n',
    false,
    /^GET \/up\?full=1: not HTTP: "SSH-2\.0-OpenSSH_9\.2p1 \\"x\\""$/,
  ],
  [
    'bytes that would act on a terminal',
    '\x1b]0;you\x07\u009b\nHTTP/1.1 200 OK\r\n\r\n',
    false,
    /: not HTTP: "\\x1b\]0;you\\x07\\xc2\\x9b"$/,
  ],
  ['a long line', 'y'.repeat(10_000), false, /: not HTTP: "y{40}…"$/],
  ['an empty line', '\r\n\r\n', false, /: not HTTP: "\\x0d\\x0a\\x0d\\x0a"$/],
  ['HTTP of another version', 'HTTP/2 200\r\n\r\n', false, /: not HTTP: "HTTP\/2 200"$/],
  ['a status of no kind', 'HTTP/1.1 007 Bond\r\n\r\n', false, /: not HTTP: "HTTP\/1\.1 007 Bond"$/],
  ['the first frame of HTTP/2', '\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64', false, /it speaks HTTP\/2 alone/],
  ['a head without an end', long, false, /the head of the answer is longer than 16 kB$/],
  ['interim answers without an end', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000), false, /longer than 16 kB$/],
  ['nothing, and an end', '', true, /it closed the connection without an answer$/],
  [
    'half a head, and an end',
    'HTTP/1.1 200 OK\r\nA',
    true,
    /it closed the connection within the head of the answer, after "HTTP\/1\.1 200 OK\\x0d\\x0aA"$/,
  ],
];

for (const [what, answer, ends, expected] of answers) {
  test(
    `the HTTP check of a server that answers with ${what} ${expected ? 'fails and says so' : 'is passed'}`,
    options,
    async () => {
      await using rig = new Rig(openPortableEngine);
      await using server = await openServer((socket) => {
        socket.once('data', () => {
          socket.write(Buffer.from(answer, answer.startsWith('\x1b') ? 'utf8' : 'latin1'));
          if (ends) socket.end();
        });
      });
      const asked = rig.engine.probe(to({ host: '127.0.0.1', port: server.port }), {
        signal: signal(),
        http: question,
      });
      if (expected === null) await asked;
      else await assert.rejects(asked, { name: 'GraceError', message: expected });
      assert.deepEqual(server.requests, [
        `GET /up?full=1 HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nUser-Agent: grace/1.2.3\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
      ]);
    },
  );
}

test(
  'the HTTP check reads an answer that comes byte by byte, and takes no other status than the one wanted',
  options,
  async () => {
    await using rig = new Rig(openPortableEngine);
    const bytes = 'HTTP/1.1 204 No Content\r\nA: b\r\n\r\n';
    await using server = await openServer((socket) => {
      socket.setNoDelay(true);
      const next = (at: number): void =>
        void (at < bytes.length && socket.write(bytes[at]!, () => setImmediate(next, at + 1)));
      next(0);
    });
    const endpoint = to({ host: '127.0.0.1', port: server.port });
    await rig.engine.probe(endpoint, { signal: signal(), http: { ...question, least: 204, most: 204 } });
    await assert.rejects(
      rig.engine.probe(endpoint, { signal: signal(), http: { ...question, least: 200, most: 200 } }),
      /answered 204, not 200$/,
    );
  },
);

test('the HTTP check waits for an answer as long as it is told, and no longer than it is wanted', options, async () => {
  await using rig = new Rig(openPortableEngine);
  await using server = await openServer((socket) => void socket.write('HTTP/1.1 2'));
  const endpoint = to({ host: '127.0.0.1', port: server.port });
  await assert.rejects(rig.engine.probe(endpoint, { signal: signal(), http: { ...question, timeoutMs: 200 } }), {
    name: 'GraceError',
    message: 'GET /up?full=1: no answer in 0.2s',
  });
  const gaveUp = new AbortController();
  const asked = rig.engine.probe(endpoint, { signal: gaveUp.signal, http: question });
  gaveUp.abort(new Error('enough'));
  await assert.rejects(asked, /^Error: enough$/);
});

test('the HTTP check says that a connection was refused or reset', options, async () => {
  await using rig = new Rig(openPortableEngine);
  await using server = await openServer((socket) => void socket.once('data', () => socket.resetAndDestroy()));
  await assert.rejects(
    rig.engine.probe(to({ host: '127.0.0.1', port: server.port }), { signal: signal(), http: question }),
    /GET .*: .*(ECONNRESET)/,
  );
  await assert.rejects(
    rig.engine.probe(to({ path: rig.path() }), { signal: signal(), http: question }),
    /^GraceError: cannot connect to unix:.*ENOENT/,
  );
});

test('the HTTP check goes through a Unix socket and is served by node:http', options, async () => {
  await using rig = new Rig(openPortableEngine);
  const path = rig.path();
  const server = http.createServer((request, response) =>
    response.writeHead(request.headers.host === 'localhost' ? 200 : 421).end('x'.repeat(200_000)),
  );
  server.listen(path);
  await once(server, 'listening');
  try {
    await rig.engine.probe(to({ path }), { signal: signal(), http: question });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('the HTTP check goes through TLS, with the name that the certificate is for as its host', options, async () => {
  await using rig = new Rig(openPortableEngine);
  const identity = { key: read(pem().key), cert: read(pem().fullChain) };
  await using server = await openServer(
    (socket) => void socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n')),
    { secure: { ...identity, ALPNProtocols: ['h2', 'http/1.1'] } },
  );
  const ask = (extras: object) =>
    rig.engine.probe(tlsTo(server.port, pem(), extras), { signal: signal(), http: question });
  await ask({ serverName: 'www.example.com' });
  await ask({ serverName: 'www.example.com', alpn: ['h2', 'http/1.1'] });
  for (const request of server.requests)
    assert.match(request, new RegExp(`^GET \\S+ HTTP/1.1\r\nHost: www.example.com:${server.port}\r\n`));
  await assert.rejects(ask({ serverName: 'www.example.com', alpn: ['h2'] }), (error) => {
    assert.ok(error instanceof GraceError);
    assert.match(error.message, /speaks HTTP\/1\.1, and alpn=h2 does not offer it/);
    assert.equal(error.code, 'ERR_GRACE_USAGE');
    return true;
  });
  assert.equal(server.requests.length, 2);
  await assert.rejects(ask({ serverName: 'www.example.net' }), /its certificate is not for/);
});

test('the HTTP check of a server that wants a client certificate says so', options, async () => {
  await using rig = new Rig(openPortableEngine);
  const secure = { key: read(pem().key), cert: read(pem().fullChain), requestCert: true, rejectUnauthorized: true };
  await using server = await openServer(() => {}, { secure });
  await assert.rejects(
    rig.engine.probe(sslTo(server.port, pem(), { hostname: 'www.example.com' }), { signal: signal(), http: question }),
    (error) => {
      assert.ok(error instanceof GraceError);
      assert.match(error.hint ?? '', /gives it a client certificate/);
      return true;
    },
  );
});

test(
  'the HTTP check of a server of HTTP/2 alone says what it speaks',
  { ...options, skip: 'Deno' in globalThis && 'its HTTP/2 server says nothing to what is no HTTP/2' },
  async () => {
    await using rig = new Rig(openPortableEngine);
    const server = http2.createServer();
    server.on('sessionError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { port } = server.address() as AddressInfo;
      await assert.rejects(
        rig.engine.probe(to({ host: '127.0.0.1', port }), { signal: signal(), http: question }),
        /it speaks HTTP\/2 alone, and the check HTTP\/1\.1|not HTTP/,
      );
    } finally {
      server.close();
    }
  },
);

test('nothing of a check stays open', options, async () => {
  await using rig = new Rig(openPortableEngine);
  const closed: Promise<unknown>[] = [];
  await using server = await openServer((socket) => {
    closed.push(new Promise((resolve) => socket.once('close', resolve)));
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n'));
  });
  await rig.engine.probe(to({ host: '127.0.0.1', port: server.port }), { signal: signal(), http: question });
  await Promise.all(closed);
  assert.equal(closed.length, 1);
});
