/** What is said of certificates: those that end, those that nobody can use, those that are chosen. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const timeout = 120_000;

function openssl(...args: string[]): string {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

type Certificate = { days?: number; key?: string[] };

/** Key and certificate for www.example.com in one file each; `days` may lie in the past. */
function makeOwn(
  dir: string,
  name: string,
  { days = 30, key = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] }: Certificate = {},
): { key: string; cert: string } {
  const file = (end: string) => join(dir, `${name}.${end}`);
  openssl(
    'req',
    '-new',
    '-nodes',
    '-newkey',
    ...key,
    '-subj',
    '/CN=www.example.com',
    '-addext',
    'subjectAltName=DNS:www.example.com',
    '-keyout',
    file('key'),
    '-out',
    file('csr'),
  );
  openssl(
    'x509',
    '-req',
    '-in',
    file('csr'),
    '-copy_extensions',
    'copy',
    '-signkey',
    file('key'),
    '-days',
    String(days),
    '-out',
    file('crt'),
  );
  return { key: file('key'), cert: file('crt') };
}

function files(t: TestContext) {
  const pem = pemFiles(t);
  return pem;
}

type Row = { src: string; warnings?: string[] };

test(
  'ls, status and log tell of a certificate that has ended, until a reload finds a new one',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const { dir } = files(t);
    const backend = await startBackend(t, 'A');
    const old = makeOwn(dir, 'old', { days: -1 });
    const fresh = makeOwn(dir, 'fresh');
    const [key, cert] = [join(dir, 'used.key'), join(dir, 'used.crt')];
    const use = (pair: { key: string; cert: string }) => {
      copyFileSync(pair.key, key);
      copyFileSync(pair.cert, cert);
    };
    use(fresh);
    const src = `ssl:0:privateKey=${key}:certKey=${cert}:interface=127.0.0.1`;
    await grace.ok('start', src, backend.endpoint);
    const warnings = async () => (JSON.parse(await grace.ok('ls', '--json')) as Row[]).map((row) => row.warnings);
    assert.deepEqual(await warnings(), [undefined]);

    use(old);
    const { pid } = await grace.status();
    process.kill(pid, 'SIGHUP');
    await until('the log says so', () => /used\.crt.*www\.example\.com expired on/.test(grace.log()));
    assert.match(
      (await warnings())[0]!.join(),
      /used\.crt": the certificate of www\.example\.com expired on \d{4}-\d\d-\d\d$/,
    );
    const listed = await grace.run('ls');
    assert.match(listed.stdout, /active/);
    assert.match(
      listed.stderr,
      /^note: ssl:0:.*: certKey ".*used\.crt": the certificate of www\.example\.com expired on /m,
    );
    assert.match(await grace.ok('status'), /^warning +ssl:0:.* expired on /m);
    assert.match(
      (JSON.parse(await grace.ok('status', '--json')) as { warnings: string[] }).warnings.join(),
      / expired on /,
    );
    // Once for each change, not at each look.
    process.kill(pid, 'SIGHUP');
    await until('it was tried again', () => grace.log().match(/log reopened/g)?.length === 2);
    assert.equal(grace.log().match(/ expired on /g)?.length, 1);
    // The successor looks for itself.
    await grace.ok('restart');
    assert.match((await warnings())[0]!.join(), / expired on /);

    use(fresh);
    process.kill((await grace.status()).pid, 'SIGHUP');
    await until('there is nothing to be said any more', async () => (await warnings())[0] === undefined);
  },
);

test('a switch to a destination with a certificate of ours that ends says so, and goes on', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { dir } = files(t);
  const backend = await startBackend(t, 'A');
  const { key, cert } = makeOwn(dir, 'old', { days: -1 });
  const src = 'tcp:0:interface=127.0.0.1';
  await grace.ok('start', src, backend.endpoint);
  const dst = `ssl:127.0.0.1:1:certKey=${cert}:privateKey=${key}:insecure=yes`;
  const { code, stderr } = await grace.run('switch', src, dst, '--no-check');
  assert.equal(code, 0);
  assert.match(stderr, /^note: certKey ".*old\.crt": the certificate of www\.example\.com expired on /m);
  const rows = JSON.parse(await grace.ok('ls', '--json')) as Row[];
  assert.match(rows[0]!.warnings!.join(), / expired on /);
  await grace.ok('switch', src, backend.endpoint);
  assert.equal((JSON.parse(await grace.ok('ls', '--json')) as Row[])[0]!.warnings, undefined);
});

test('what OpenSSL refuses is said with file and advice before a daemon is started', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const pem = files(t);
  const { dir } = pem;
  const weak = makeOwn(dir, 'weak', { key: ['rsa:1024'] });
  const weakDh = join(dir, 'weak-dh.pem');
  openssl('genpkey', '-genparam', '-algorithm', 'DH', '-pkeyopt', 'dh_paramgen_prime_len:512', '-out', weakDh);
  const otherDh = join(dir, 'other-dh.pem');
  openssl('genpkey', '-genparam', '-algorithm', 'DHX', '-pkeyopt', 'dh_rfc5114:3', '-out', otherDh);
  const cases: [endpoint: string, said: RegExp][] = [
    [`ssl:0:privateKey=${weak.key}:certKey=${weak.cert}`, /weak\.crt": .*key too small[^]*hint: .*prime256v1/],
    [`ssl:0:privateKey=${pem.key}:certKey=${pem.fullChain}:dhParameters=${weakDh}`, /weak-dh\.pem": .*\n?[^]*hint: /],
    [
      `ssl:0:privateKey=${pem.key}:certKey=${pem.fullChain}:dhParameters=${otherDh}`,
      /other-dh\.pem": X9\.42 parameters[^]*hint: /,
    ],
    [
      `ssl:0:privateKey=${pem.key}:certKey=${pem.otherCert}`,
      /leaf\.key": key does not match certificate ".*other\.crt"/,
    ],
  ];
  // Deno's TLS has no finite-field Diffie-Hellman, and passes over the parameters.
  const refused = cases.filter(([endpoint]) => runtime !== 'deno' || !endpoint.includes('dhParameters='));
  for (const [endpoint, said] of refused) {
    const started = await grace.run('start', endpoint, 'tcp:127.0.0.1:1');
    assert.equal(started.code, 2, started.stderr);
    assert.match(started.stderr, said);
    assert.ok(!existsSync(grace.dir), 'no daemon was started, and nothing was left behind');
    const explained = await grace.run('endpoint', 'server', endpoint);
    assert.deepEqual([explained.code, explained.stderr], [2, started.stderr]);
  }

  const src = 'tcp:0:interface=127.0.0.1';
  const backend = await startBackend(t, 'A');
  await grace.ok('start', src, backend.endpoint);
  // The daemon that runs says the same, and goes on with what it has.
  for (const [endpoint, said] of refused) {
    const added = await grace.run('start', endpoint, backend.endpoint);
    assert.notEqual(added.code, 0);
    assert.match(added.stderr, said);
  }
  assert.equal((await grace.ls()).length, 1);
  const switched = await grace.run(
    'switch',
    src,
    `ssl:127.0.0.1:1:certKey=${weak.cert}:privateKey=${weak.key}`,
    '--no-check',
  );
  assert.notEqual(switched.code, 0);
  assert.match(switched.stderr, /weak\.crt": .*key too small/);
  assert.equal((await grace.ls())[0]!.dst, backend.endpoint);
});

test(
  'a rule whose files OpenSSL refuses when the daemon comes back is named in ls and log, the others are served',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const { dir } = files(t);
    const backend = await startBackend(t, 'A');
    const weak = makeOwn(dir, 'weak', { key: ['rsa:1024'] });
    const used = makeOwn(dir, 'used');
    const src = `ssl:0:privateKey=${used.key}:certKey=${used.cert}:interface=127.0.0.1`;
    const plain = 'tcp:0:interface=127.0.0.1';
    await grace.ok('start', src, backend.endpoint);
    await grace.ok('start', plain, backend.endpoint);
    copyFileSync(weak.key, used.key);
    copyFileSync(weak.cert, used.cert);
    const restarted = await grace.run('restart');
    assert.equal(restarted.code, 1);
    assert.match(restarted.stderr, /used\.crt": .*key too small/);
    // A reload keeps the old ones, and says why.
    process.kill((await grace.status()).pid, 'SIGHUP');
    await until('the log says so', () => /certificates not reloaded/.test(grace.log()));
    assert.match(grace.log(), /used\.crt.*key too small/);

    await grace.ok('stop', '--now');
    await grace.run('start', plain, backend.endpoint);
    const failed = (await grace.ls()).find((row) => row.src === src);
    assert.match(failed?.error ?? '', /used\.crt": .*key too small/);
    assert.match((await grace.run('ls')).stderr, /^note: ssl:0:.* is not served: .*used\.crt": .*key too small/m);
    assert.ok((await grace.port(plain)) > 0);
  },
);

test('a certificate of ours for a destination that ends is told of at a reload', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { dir } = files(t);
  const old = makeOwn(dir, 'old', { days: -1 });
  const used = makeOwn(dir, 'used');
  const dst = `ssl:127.0.0.1:1:certKey=${used.cert}:privateKey=${used.key}:insecure=yes`;
  await grace.ok('start', 'tcp:0:interface=127.0.0.1', dst);
  assert.equal((await grace.ls())[0]!.warnings, undefined);
  copyFileSync(old.key, used.key);
  copyFileSync(old.cert, used.cert);
  process.kill((await grace.status()).pid, 'SIGHUP');
  await until('the log says so', () => /used\.crt.* expired on/.test(grace.log()));
  assert.match((await grace.ls())[0]!.warnings!.join(), /used\.crt": .* expired on /);
});

test('for one name a client gets the certificate that it can use, RSA or ECDSA', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { dir } = files(t);
  const backend = await startBackend(t, 'A');
  const served = join(dir, 'served');
  mkdirSync(served);
  for (const [name, key] of [
    ['rsa', ['rsa:2048']],
    ['ec', undefined],
  ] as const) {
    const pair = makeOwn(dir, name, key ? { key: [...key] } : {});
    writeFileSync(join(served, `${name}.pem`), readFileSync(pair.key, 'utf8') + readFileSync(pair.cert, 'utf8'));
  }
  const directory = `tls:${served}:0:interface=127.0.0.1`;
  const withNames = `ssl:0:privateKey=${served}/rsa.pem:certKey=${served}/rsa.pem:sni=${served}:interface=127.0.0.1`;
  for (const src of [directory, withNames]) {
    await grace.ok('start', src, backend.endpoint);
    const port = await grace.port(src);
    for (const at of [port, await startTrickle(t, port)]) {
      assert.match(await keyKindFor(at, '-sigalgs', 'RSA-PSS+SHA256'), /^RSA/, src);
      assert.match(await keyKindFor(at, '-sigalgs', 'ECDSA+SHA256'), /^ECDSA/, src);
      assert.match(await keyKindFor(at, '-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256'), /^RSA/, src);
      assert.match(await keyKindFor(at, '-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'), /^ECDSA/, src);
    }
  }
});

/** The kind of key that openssl met, and that it was greeted by the backend. */
async function keyKindFor(port: number, ...args: string[]): Promise<string> {
  const client = spawn(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'www.example.com', ...args],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  let output = '';
  client.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (/^A$/m.test(output)) client.stdin.end();
  });
  await once(client, 'close');
  assert.match(output, /^A$/m);
  return /Peer signature type: (\S+)/.exec(output)?.[1] ?? '';
}

/** A way to a port that takes what the client says first byte by byte. */
async function startTrickle(t: TestContext, port: number): Promise<number> {
  const server = createServer(async (client) => {
    const upstream = connect(port, '127.0.0.1').setNoDelay();
    for (const socket of [client, upstream]) socket.on('error', () => {});
    upstream.pipe(client);
    client.on('close', () => upstream.destroy());
    const [first] = (await once(client, 'data')) as [Buffer];
    client.pause();
    for (const byte of first) {
      upstream.write(Buffer.from([byte]));
      await setImmediate();
    }
    client.pipe(upstream);
  });
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
