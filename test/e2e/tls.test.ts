import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { until } from '../until.ts';
import { pemFiles } from './pem-files.ts';
import { startTlsBackend } from './tls-backend.ts';

const timeout = 180_000;

/** Connect with TLS and wait for the greeting; resolves with the certificate's subject and what arrived. */
async function greet(port: number, ca: string) {
  const socket = connectTls({ port, host: '127.0.0.1', servername: 'www.example.com', ca: readFileSync(ca) });
  await once(socket, 'secureConnect');
  const [data] = (await once(socket, 'data')) as [Buffer];
  return { socket, text: data.toString(), subject: socket.getPeerCertificate().subject.CN };
}

test(
  'openssl s_client reaches a plain backend through an ssl source, and its end is passed on',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const files = pemFiles(t);
    const a = await startBackend(t, 'A');
    const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
    await grace.ok('start', src, a.endpoint);
    const port = await grace.port(src);
    const client = spawn(
      'openssl',
      [
        's_client',
        '-quiet',
        '-verify_return_error',
        '-CAfile',
        files.root,
        '-verify_hostname',
        'www.example.com',
        '-connect',
        `127.0.0.1:${port}`,
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    t.after(() => client.kill());
    let output = '';
    client.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    while (!output.includes('A\n')) await once(client.stdout, 'data');
    client.stdin.write('over TLS\n');
    while (!output.includes('over TLS\n')) await once(client.stdout, 'data');
    for (const socket of a.connections) socket.end();
    assert.deepEqual(await once(client, 'exit'), [0, null]);
  },
);

test(
  'a destination with TLS is verified: the right authority is let through, another is refused and logged',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const files = pemFiles(t);
    const port = await startTlsBackend(t, files, (socket) => {
      socket.write(`hello ${socket.servername}\n`);
      socket.pipe(socket);
    });

    const src = 'tcp:0:interface=127.0.0.1';
    const trusted = `ssl:127.0.0.1:${port}:hostname=www.example.com:caCertsDir=${files.caDir}`;
    await grace.ok('start', src, trusted);
    const client = await openClient(t, { port: await grace.port(src) });
    assert.equal(await client.line(), 'hello www.example.com');
    assert.equal(await client.echo('through TLS'), 'through TLS');
    await client.end();

    const untrusted = `tls:127.0.0.1:${port}`;
    const { code, stderr } = await grace.run('switch', src, untrusted);
    assert.equal(code, 5);
    assert.match(stderr, /certificate/);
    await grace.ok('switch', src, untrusted, '--no-check');
    const refused = await openClient(t, { port: await grace.port(src) });
    await assert.rejects(refused.line());
    await until('the log says so', () => /destination cannot be reached.*certificate/.test(grace.log()));
    await grace.ok('switch', src, `${untrusted}:insecure=yes`);
    assert.equal(await (await openClient(t, { port: await grace.port(src) })).line(), 'hello false');
  },
);

test('SIGHUP brings a renewed certificate to new clients and leaves the open connection', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const a = await startBackend(t, 'A');
  const key = join(files.dir, 'served.key');
  const cert = join(files.dir, 'served.crt');
  copyFileSync(files.key, key);
  copyFileSync(files.fullChain, cert);
  const src = `ssl:0:privateKey=${key}:certKey=${cert}:interface=127.0.0.1`;
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const before = await greet(port, files.root);
  assert.equal(before.subject, 'www.example.com');

  copyFileSync(files.otherKey, key);
  copyFileSync(files.otherCert, cert);
  process.kill((await grace.status()).pid, 'SIGHUP');
  while (!grace.log().includes('certificates reloaded')) await grace.ok('ls');
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    servername: 'other.example',
    ca: readFileSync(files.otherCert),
  });
  await once(socket, 'secureConnect');
  assert.equal(socket.getPeerCertificate().subject.CN, 'other.example');
  socket.destroy();

  const echoed = once(before.socket, 'data');
  before.socket.write('still here');
  assert.equal(String((await echoed)[0]), 'still here');
  before.socket.destroy();
});

for (const engine of ['native', 'portable'] as const) {
  test(
    `SIGHUP reads anew whom a destination is trusted by, and no session outlives that (${engine} engine)`,
    { timeout },
    async (t) => {
      const grace = makeGrace(t, engine === 'portable' ? { GRACE_TLS: 'portable' } : {});
      const files = pemFiles(t);
      const trusted = join(files.dir, 'trusted');
      mkdirSync(trusted);
      const trust = (cert: string) => copyFileSync(cert, join(trusted, 'ca.pem'));
      trust(files.root);
      const behind = await startTlsBackend(t, files, (socket) => {
        socket.write(socket.isSessionReused() ? 'resumed\n' : 'full\n');
        socket.pipe(socket);
      });
      const src = 'tcp:0:interface=127.0.0.1';
      await grace.ok('start', src, `ssl:127.0.0.1:${behind}:caCertsDir=${trusted}`);
      const port = await grace.port(src);
      const hangUp = async () => {
        const told = () => grace.log().match(/log reopened/g)?.length ?? 0;
        const before = told();
        process.kill((await grace.status()).pid, 'SIGHUP');
        await until('the files have been read', () => told() > before);
      };
      /** One connection after the other: what the server says of their handshakes. */
      const visits = async (count: number) => {
        const said: string[] = [];
        while (said.length < count) {
          const client = await openClient(t, { port });
          said.push(await client.line());
          await client.end();
        }
        return said;
      };
      // Where there are sessions, all connections go on with them but the first.
      const later = engine === 'native' && runtime !== 'deno' ? 'resumed' : 'full';
      assert.deepEqual(await visits(2), ['full', later]);
      const open = await openClient(t, { port });
      assert.equal(await open.line(), later);

      await hangUp();
      assert.deepEqual(await visits(1), [later], 'files that have not changed');

      trust(files.junk);
      await hangUp();
      assert.match(grace.log(), /certificates not reloaded; the old ones stay .*"dst":/);
      assert.deepEqual(await visits(1), [later], 'files that are bad');

      trust(files.otherCert);
      await hangUp();
      for (let attempt = 0; attempt < 2; attempt++) await assert.rejects((await openClient(t, { port })).line());
      await until('the log says so', () => /destination cannot be reached.*not trusted/.test(grace.log()));
      assert.equal(await open.echo('still here'), 'still here');

      trust(files.root);
      await hangUp();
      assert.deepEqual(await visits(2), ['full', later], 'the old authority again');
      await open.end();
    },
  );
}

test(
  'a TLS connection that cannot move outlives restarts where it is, and wait knows of it',
  { timeout },
  async (t) => {
    const grace = makeGrace(t, { GRACE_TLS: 'portable' });
    const files = pemFiles(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
    await grace.ok('start', src, a.endpoint);
    const { pid } = await grace.status();
    const { socket } = await greet(await grace.port(src), files.root);
    t.after(() => void socket.destroy());
    await grace.ok('restart');
    assert.equal((await grace.ls()).find((row) => row.connections === 1)?.pid, pid);
    await grace.ok('switch', src, b.endpoint);
    assert.deepEqual(
      (await grace.ls()).map((row) => [row.dst, row.connections, row.active]),
      [
        [b.endpoint, 0, true],
        [a.endpoint, 1, false],
      ],
    );
    const waiting = grace.spawn('wait', src);
    await grace.ok('restart');
    const echoed = once(socket, 'data');
    socket.write('two generations later');
    assert.equal(String((await echoed)[0]), 'two generations later');
    assert.equal(waiting.outcome().code, null);
    socket.end();
    assert.equal((await waiting.ended).code, 0);
  },
);

test('a restart whose successor cannot read a certificate changes nothing', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const a = await startBackend(t, 'A');
  const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
  await grace.ok('start', 'tcp:0:interface=127.0.0.1', a.endpoint);
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  rmSync(files.fullChain);
  const { code, stderr } = await grace.run('restart');
  assert.equal(code, 1);
  assert.match(stderr, /^grace: cannot restart.*full\.txt/);
  const { socket, text } = await greet(port, files.root);
  assert.equal(text, 'A\n');
  socket.destroy();
});

test('start presents the valid one of two certificates, and says that one is about to end', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const a = await startBackend(t, 'A');
  const dir = join(files.dir, 'served');
  mkdirSync(dir);
  // Each has a key of its own; the expired one comes first by name.
  for (const [name, days] of [
    ['1', '-1'],
    ['2', '30'],
  ] as const) {
    const file = (end: string) => join(files.dir, `${name}.${end}`);
    execFileSync(
      'openssl',
      [
        'req',
        '-new',
        '-nodes',
        '-newkey',
        'rsa:2048',
        '-subj',
        `/CN=www.example.com`,
        '-addext',
        'subjectAltName=DNS:www.example.com',
        '-keyout',
        file('key'),
        '-out',
        file('csr'),
      ],
      { stdio: 'pipe' },
    );
    execFileSync(
      'openssl',
      [
        'x509',
        '-req',
        '-in',
        file('csr'),
        '-copy_extensions',
        'copy',
        '-signkey',
        file('key'),
        '-days',
        days,
        '-out',
        file('crt'),
      ],
      { stdio: 'pipe' },
    );
    writeFileSync(join(dir, `${name}.pem`), readFileSync(file('key'), 'utf8') + readFileSync(file('crt'), 'utf8'));
  }
  const src = `tls:${dir}:0:interface=127.0.0.1`;
  await grace.ok('start', src, a.endpoint);
  const { socket } = await greet(await grace.port(src), join(files.dir, '2.crt'));
  socket.destroy();
  const { stderr } = await grace.run(
    'start',
    `ssl:0:privateKey=${files.dir}/1.key:certKey=${files.dir}/1.crt:interface=127.0.0.1`,
    a.endpoint,
  );
  assert.match(stderr, /1\.crt": the certificate of www\.example\.com expired on /);
  await until('the log says so', () => /1\.crt.*expired on/.test(grace.log()));
});

test('a key that does not fit is refused by start, with the file named', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const { code, stderr } = await grace.run(
    'start',
    `ssl:0:privateKey=${files.key}:certKey=${files.otherCert}`,
    'tcp:127.0.0.1:1',
  );
  assert.equal(code, 2);
  assert.match(stderr, /key does not match certificate/);
});

test(
  'of a directory that is not there the message names the whole endpoint, and offers nothing that fails as well',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const { key, cert } = pemFiles(t);
    const dst = (await startBackend(t, 'A')).endpoint;
    const sni = `ssl:0:privateKey=${key}:certKey=${cert}:sni=/nowhere`;
    for (const src of [sni, 'tls:/nowhere:0']) {
      const { code, stderr } = await grace.run('start', src, dst);
      assert.equal(code, 2);
      assert.equal(stderr.split(': ')[1], `cannot use endpoint "${src}"`);
    }
    const src = 'tcp:0:interface=127.0.0.1';
    await grace.ok('start', src, dst);
    const { code, stderr } = await grace.run('switch', src, 'ssl:localhost:1:caCertsDir=/nowhere');
    assert.equal(code, 2);
    assert.match(stderr, /caCertsDir "\/nowhere": file not found\nhint: nothing was changed\n$/);
  },
);

test(
  'a switch to a server that wants a client certificate succeeds with one, and says what is missing without',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const files = pemFiles(t);
    const a = await startBackend(t, 'A');
    const src = 'tcp:0:interface=127.0.0.1';
    await grace.ok('start', src, a.endpoint);
    for (const protocol of ['-tls1_3', '-tls1_2']) {
      for (const more of [[], ['-num_tickets', '0']]) {
        const args = [
          's_server',
          '-accept',
          '127.0.0.1:0',
          '-key',
          files.key,
          '-cert',
          files.cert,
          '-cert_chain',
          files.chain,
          '-CAfile',
          files.root,
          '-Verify',
          '5',
          '-verify_return_error',
          protocol,
          ...more,
        ];
        const server = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
        t.after(() => server.kill());
        let output = '';
        server.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
        while (!/^ACCEPT .*:[0-9]+$/m.test(output)) await once(server.stdout, 'data');
        const port = /^ACCEPT .*:([0-9]+)$/m.exec(output)?.[1];
        const dst = `ssl:127.0.0.1:${port}:caCertsDir=${files.caDir}`;
        const without = await grace.run('switch', src, dst);
        assert.equal(without.code, 5);
        assert.match(
          without.stderr,
          protocol === '-tls1_3'
            ? /^grace: cannot switch .*: it wants a client certificate\nhint: certKey=FILE .*--no-check/
            : /^grace: cannot switch .*: TLS handshake failed/,
        );
        assert.equal((await grace.ls())[0]?.dst, a.endpoint);
        await grace.ok('switch', src, `${dst}:certKey=${files.fullChain}:privateKey=${files.key}`);
        await grace.ok('switch', src, a.endpoint);
        server.kill();
      }
    }
  },
);

test('a switch to a TLS server that keeps silent does not wait for it long', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const a = await startBackend(t, 'A');
  const src = 'tcp:0:interface=127.0.0.1';
  await grace.ok('start', src, a.endpoint);
  const silent = await startTlsBackend(t, files, () => {});
  const dst = `ssl:127.0.0.1:${silent}:caCertsDir=${files.caDir}`;
  await grace.ok('switch', src, dst);
  assert.equal((await grace.ls())[0]?.dst, dst);
});
