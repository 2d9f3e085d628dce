/** Destinations that are told whom they have to do with: HAProxy and nginx say what they heard. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import tls from 'node:tls';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { readProxyHeader } from '../../src/engine/proxy-parser.ts';
import { until } from '../until.ts';
import { makeGrace, ownLoopback } from './grace.ts';
import { freePort } from './listening-socket.ts';
import { pemFiles } from './pem-files.ts';

const options = { timeout: 120_000 };
const src = 'tcp:0:interface=127.0.0.1';

type Receiver = { program: string; args: (file: string) => string[]; config: (port: number, dir: string) => string };

const receivers: Readonly<Record<string, Receiver>> = {
  haproxy: {
    program: 'haproxy',
    args: (file) => ['-db', '-f', file],
    config: (port) =>
      `defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\nfrontend f\n  bind ${ownLoopback}:${port} accept-proxy\n  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]>%[dst_port]\\n"\n`,
  },
  nginx: {
    program: 'nginx',
    args: (file) => ['-c', file, '-g', 'daemon off;'],
    config: (port, dir) =>
      `pid ${dir}/pid;\nerror_log ${dir}/error;\nworker_processes 1;\nevents {}\nhttp {\n  access_log off;\n  client_body_temp_path ${dir}; proxy_temp_path ${dir}; fastcgi_temp_path ${dir}; uwsgi_temp_path ${dir}; scgi_temp_path ${dir};\n  server { listen ${ownLoopback}:${port} proxy_protocol; return 200 "$proxy_protocol_addr:$proxy_protocol_port>$proxy_protocol_server_port\\n"; }\n}\n`,
  },
};

async function startReceiver(t: TestContext, { program, args, config }: Receiver): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'grace-proxy-'));
  const port = await freePort();
  const file = join(dir, 'config');
  writeFileSync(file, config(port, dir));
  const child = spawn(program, args(file), { stdio: 'ignore' });
  t.after(async () => {
    if (child.exitCode === null && child.kill()) await once(child, 'exit');
    rmSync(dir, { recursive: true, force: true });
  });
  await until(`${program} listens`, async () => {
    const socket = connect({ port, host: ownLoopback });
    const isThere = await new Promise<boolean>((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    );
    socket.destroy();
    return isThere;
  });
  return `tcp:${ownLoopback}:${port}`;
}

/** Ask over a connection whose own address is known. */
async function ask(port: number): Promise<{ answer: string; from: string }> {
  const request = http.get({ host: '127.0.0.1', port, agent: false });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const { localAddress, localPort } = response.socket;
  let answer = '';
  for await (const chunk of response.setEncoding('utf8')) answer += chunk;
  return { answer: answer.trim(), from: `${localAddress}:${localPort}` };
}

for (const [name, receiver] of Object.entries(receivers)) {
  const skip = spawnSync(receiver.program, ['-v']).error ? `${name} is not installed` : false;
  for (const version of ['v1', 'v2']) {
    test(
      `${name} knows the client by the header of proxy=${version}, also after a restart`,
      { ...options, skip },
      async (t) => {
        const dst = await startReceiver(t, receiver);
        const grace = makeGrace(t);
        await grace.ok('start', src, `${dst}:proxy=${version}`, '--check-http', '/');
        for (let round = 0; round < 2; round++) {
          const port = await grace.port(src);
          const { answer, from } = await ask(port);
          assert.equal(answer, `${from}>${port}`);
          if (round === 0) await grace.ok('restart');
        }
        const refused = await grace.run('switch', src, `${dst}:proxy=${version}:timeout=5`, '--check-http', '/=204');
        assert.match(refused.stderr, /answered 200, not 204/);
      },
    );
  }
}

test('a client that waits for its destination over a restart is told of as the one it is', options, async (t) => {
  const grace = makeGrace(t);
  const port = await freePort();
  await grace.ok('start', src, `tcp:${ownLoopback}:${port}:retry=60s:proxy=v1`);
  const listening = await grace.port(src);
  const client = connect({ port: listening, host: '127.0.0.1' });
  t.after(() => void client.destroy());
  await once(client, 'connect');
  await until('it is counted', async () => (await grace.ls())[0]?.connections === 1);
  await grace.ok('restart');
  const server = createServer().listen(port, ownLoopback);
  t.after(() => void server.close());
  const [socket] = (await once(server, 'connection')) as [ReturnType<typeof connect>];
  client.write('hello');
  let heard = '';
  socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
  await until('all has come', () => heard.endsWith('hello'));
  assert.equal(heard, `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} ${listening}\r\nhello`);
  socket.destroy();
});

test(
  'clients that a proxy speaks for move at a restart, connected, held and before their header',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const heard: string[] = [];
    const server = createServer((socket) => {
      const index = heard.push('') - 1;
      socket.on('error', () => {}).on('data', (data: Buffer) => (heard[index] += data.toString('latin1')));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => void server.close());
    const own = `haproxy:${src}:headerTimeout=60s`;
    const dst = `tcp:127.0.0.1:${(server.address() as AddressInfo).port}:proxy=v1`;
    await grace.ok('start', own, dst);
    const port = await grace.port(own);
    const headerOf = (number: number) => `PROXY TCP4 192.0.2.${number} 198.51.100.1 4711 443\r\n`;
    const client = (text: string) => {
      const socket = connect({ port, host: '127.0.0.1' });
      t.after(() => void socket.destroy());
      socket.on('error', () => {}).write(text);
      return socket;
    };
    const isHeard = (text: string) => until(`${JSON.stringify(text)} is heard`, () => heard.includes(text));
    const open = client(`${headerOf(1)}first`);
    await isHeard(`${headerOf(1)}first`);
    const slow = client(headerOf(2).slice(0, 20));
    await until('both are counted', async () => (await grace.ls())[0]?.connections === 2);
    await grace.ok('hold', own);
    client(`${headerOf(3)}held`);
    await until('one waits', async () => (await grace.ls())[0]?.waiting === 1);
    const before = await grace.status();
    const said = await grace.ok('restart');
    if (before.engine !== 'portable') assert.match(said, /^Moved 3 connections/m);
    await grace.ok('release', own);
    open.write(' last');
    slow.write(`${headerOf(2).slice(20)}late`);
    for (const text of [`${headerOf(1)}first last`, `${headerOf(2)}late`, `${headerOf(3)}held`]) await isHeard(text);
    const clients = await grace.connections();
    assert.deepEqual(
      clients.map((each) => each.client).sort(),
      [1, 2, 3].map((number) => `192.0.2.${number}:4711`),
    );
  },
);

const senders = ['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options crc32c,unique-id'];

for (const option of senders) {
  test(
    `HAProxy with ${option} tells grace of its clients, and grace another grace`,
    { ...options, skip: spawnSync('haproxy', ['-v']).error ? 'haproxy is not installed' : false },
    async (t) => {
      const [first, second] = [makeGrace(t), makeGrace(t)];
      const server = createServer((socket) => {
        socket
          .on('error', () => {})
          .setEncoding('utf8')
          .on('data', (text: string) => socket.end(text));
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => void server.close());
      // The last one is told in the first version, and sends what it heard back.
      await second.ok(
        'start',
        'tcp:0:interface=127.0.0.1:proxy=accept:proxyFrom=127.0.0.0/8',
        `tcp:127.0.0.1:${(server.address() as AddressInfo).port}:proxy=v1`,
      );
      await first.ok(
        'start',
        'haproxy:tcp:0:interface=127.0.0.1',
        `tcp:127.0.0.1:${await second.port('tcp:0:interface=127.0.0.1:proxy=accept:proxyFrom=127.0.0.0/8')}:proxy=v2`,
      );
      const target = await first.port('haproxy:tcp:0:interface=127.0.0.1');
      const dst = await startReceiver(t, {
        program: 'haproxy',
        args: (file) => ['-db', '-f', file],
        config: (port) =>
          `defaults\n  mode tcp\n  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\nlisten l\n  bind ${ownLoopback}:${port}\n  unique-id-format %ci\n  server s 127.0.0.1:${target} ${option}\n`,
      });
      for (let round = 0; round < 2; round++) {
        const client = connect({ host: ownLoopback, port: Number(dst.split(':')[2]) });
        await once(client, 'connect');
        const { localAddress, localPort, remotePort } = client;
        client.end('hello');
        let heard = '';
        for await (const text of client.setEncoding('utf8')) heard += text;
        assert.equal(heard.split('\r\n')[0], `PROXY TCP4 ${localAddress} ${ownLoopback} ${localPort} ${remotePort}`);
        if (round === 0) for (const grace of [first, second]) await grace.ok('restart');
      }
    },
  );
}

test(
  'what HAProxy knows of a TLS client is told on, and what grace knows of one HAProxy understands',
  { ...options, skip: spawnSync('haproxy', ['-v']).error ? 'haproxy is not installed' : false },
  async (t) => {
    const pem = pemFiles(t);
    const grace = makeGrace(t);
    const server = createServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => void server.close());
    const own = `${src}:proxy=accept`;
    await grace.ok('start', own, `tcp:127.0.0.1:${(server.address() as AddressInfo).port}:proxy=v2`);
    const target = await grace.port(own);
    const bundle = join(mkdtempSync(join(tmpdir(), 'grace-proxy-')), 'pem');
    t.after(() => rmSync(dirname(bundle), { recursive: true }));
    writeFileSync(bundle, readFileSync(pem.fullChain, 'utf8') + readFileSync(pem.key, 'utf8'), { mode: 0o600 });
    const times = '  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n';
    const told = 'send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher,cert-key,cert-sig,authority,crc32c,unique-id';
    const before = await startReceiver(t, {
      program: 'haproxy',
      args: (file) => ['-db', '-f', file],
      config: (port) =>
        `defaults\n  mode tcp\n${times}listen l\n  bind ${ownLoopback}:${port} ssl crt ${bundle}\n  unique-id-format %ci\n  server s 127.0.0.1:${target} ${told}\n`,
    });
    const accepted = once(server, 'connection');
    const names = { ca: readFileSync(pem.root), servername: 'www.example.com' };
    const client = tls.connect({ host: ownLoopback, port: Number(before.split(':')[2]), ...names });
    t.after(() => void client.destroy());
    await once(client, 'secureConnect');
    const [socket] = (await accepted) as [ReturnType<typeof connect>];
    let heard = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => (heard = Buffer.concat([heard, data])));
    await until('a header has come', () => heard.length > 0 && readProxyHeader(heard) !== null);
    const { ends, fields } = readProxyHeader(heard)!;
    assert.equal(ends?.client.port, client.localPort);
    const textOf = (type: number) =>
      Buffer.from(fields.find((each) => each.type === type)?.value ?? []).toString('latin1');
    assert.equal(textOf(0x02), 'www.example.com');
    assert.equal(textOf(0x05), ends?.client.host);
    assert.ok(textOf(0x20).includes(`TLSv1.3`) && textOf(0x20).includes('TLS_AES_'));
    assert.equal(textOf(0x03).length, 4);

    const behind = await startReceiver(t, {
      program: 'haproxy',
      args: (file) => ['-db', '-f', file],
      config: (port) =>
        `defaults\n  mode http\n${times}frontend f\n  bind ${ownLoopback}:${port} accept-proxy\n  http-request return status 200 content-type text/plain lf-string "%[fc_pp_authority] %[fc_pp_unique_id]"\n`,
    });
    const secure = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
    await grace.ok('start', secure, `${behind}:proxy=v2:proxyTlv=crc32c,unique-id`);
    const request = https.get({ host: '127.0.0.1', port: await grace.port(secure), agent: false, ...names });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let answer = '';
    for await (const chunk of response.setEncoding('utf8')) answer += chunk;
    assert.match(answer, /^www\.example\.com [a-z0-9]{8,12}$/);
  },
);
