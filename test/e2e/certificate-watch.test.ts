/** New certificates are taken by themselves, good ones alone, and nobody notices but by the certificate. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { issuer, nameOf, replaceLink } from './issued-pairs.ts';
import type { Pair } from './issued-pairs.ts';
import { pemFiles } from './pem-files.ts';

const timeout = 120_000;

function open(port: number, servername = 'www.example.com'): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername, rejectUnauthorized: false });
    socket.once('secureConnect', () => resolve(socket)).once('error', reject);
  });
}

/** Common name of the certificate that a new client gets. */
async function presented(port: number, servername?: string): Promise<string> {
  const socket = await open(port, servername);
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

test('files that change are read again by themselves, links of certbot and Kubernetes too', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const issue = issuer(pem.dir, pem.intermediate);
  const backend = await startBackend(t, 'A');
  const [first, second] = [issue(), issue()];

  const live = join(pem.dir, 'live');
  mkdirSync(live);
  const certbot = { key: join(live, 'privkey.pem'), cert: join(live, 'fullchain.pem') };
  const volume = join(pem.dir, 'volume');
  mkdirSync(volume);
  const mount = (pair: Pair) => {
    const dir = join(volume, `..${nameOf(pair)}`);
    mkdirSync(dir);
    copyFileSync(pair.key, join(dir, 'tls.key'));
    copyFileSync(pair.cert, join(dir, 'tls.crt'));
    replaceLink(basename(dir), join(volume, '..data'));
  };
  const link = (pair: Pair) => {
    replaceLink(pair.key, certbot.key);
    replaceLink(pair.cert, certbot.cert);
  };
  link(first);
  mount(first);
  for (const end of ['key', 'crt']) symlinkSync(join('..data', `tls.${end}`), join(volume, `tls.${end}`));
  const rules = [
    { src: `ssl:0:privateKey=${certbot.key}:certKey=${certbot.cert}:interface=127.0.0.1`, change: link },
    {
      src: `ssl:0:privateKey=${join(volume, 'tls.key')}:certKey=${join(volume, 'tls.crt')}:interface=127.0.0.1`,
      change: mount,
    },
  ];
  for (const { src } of rules) await grace.ok('start', src, backend.endpoint);
  for (const { src, change } of rules) {
    const port = await grace.port(src);
    assert.equal(await presented(port), nameOf(first));
    const open_ = await open(port);
    change(second);
    const began = performance.now();
    await until('the new one is presented', async () => (await presented(port)) === nameOf(second));
    t.diagnostic(`${Math.round(performance.now() - began)} ms`);
    // The connection that was open goes on.
    const answer = new Promise((resolve) => open_.once('data', resolve));
    open_.write('still here\n');
    await answer;
    open_.destroy();
  }
  assert.match(await grace.ok('ls', '--long'), /ssl:0:.* has a certificate until \d{4}-\d\d-\d\d$/m);
});

test('a bad pair is not taken, is told of, and does not stay in the way of a good one', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const issue = issuer(pem.dir, pem.intermediate);
  const backend = await startBackend(t, 'A');
  const [key, cert] = [join(pem.dir, 'used.key'), join(pem.dir, 'used.crt')];
  const use = (pair: Pair) => {
    copyFileSync(pair.key, key);
    copyFileSync(pair.cert, cert);
  };
  const first = issue();
  use(first);
  const src = `ssl:0:privateKey=${key}:certKey=${cert}:interface=127.0.0.1`;
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  const warnings = async () => ((await grace.ls())[0]?.warnings ?? []).join('\n');
  const bad: [Pair, RegExp][] = [
    [
      { key: issue().key, cert: issue().cert },
      /the old ones stay in use: .*used\.key": key does not match certificate/,
    ],
    [issue({ days: -1 }), /the old ones stay in use: .*used\.crt": the certificate of made-\d+ expired on/],
    [issue({ chain: [pem.root] }), /the old ones stay in use: .*its chain has a gap/],
    [{ key: pem.junk, cert: pem.junk }, /the old ones stay in use: .*no private key in it/],
  ];
  for (const [pair, reason] of bad) {
    use(pair);
    await until(`it is told of ${reason.source}`, async () => reason.test(await warnings()));
    assert.equal(await presented(port), nameOf(first));
  }
  assert.match(await grace.ok('status'), /^warning +ssl:0:.*the old ones stay in use/m);
  assert.match(grace.log(), /certificates not reloaded; the old ones stay.*its chain has a gap/);
  const good = issue();
  use(good);
  await until('the good one is presented', async () => (await presented(port)) === nameOf(good));
  assert.equal(await warnings(), '');
});

for (const engine of ['native', 'portable'])
  test(
    `of certificates by name a bad one does not hold up the others, and the old one stays (${engine} engine)`,
    { timeout, skip: runtime === 'deno' && engine === 'native' && 'Deno has no engine of ours that speaks TLS' },
    async (t) => {
      const grace = makeGrace(t, engine === 'portable' ? { GRACE_TLS: 'portable' } : {});
      const pem = pemFiles(t);
      const issue = issuer(pem.dir, pem.intermediate);
      const backend = await startBackend(t, 'A');
      const [own, named] = [join(pem.dir, 'own.pem'), join(pem.dir, 'named')];
      mkdirSync(named);
      const put = (file: string, { key, cert }: Pair) =>
        writeFileSync(file, readFileSync(key, 'utf8') + readFileSync(cert, 'utf8'));
      const [a, b] = ['a', 'b'].map((name) => join(named, `${name}.pem`)) as [string, string];
      const asA = { name: 'a.example' };
      const asB = { name: 'b.example' };
      const first = { a: issue(asA), b: issue(asB), own: issue() };
      put(a, first.a);
      put(b, first.b);
      put(own, first.own);
      const src = `ssl:0:privateKey=${own}:sni=${named}:interface=127.0.0.1`;
      await grace.ok('start', src, backend.endpoint);
      const port = await grace.port(src);
      const warnings = async () => ((await grace.ls())[0]?.warnings ?? []).join('\n');
      const shown = async () =>
        Promise.all(['a.example', 'b.example', 'c.example'].map((name) => presented(port, name)));
      const tell = 'its certificates have changed, and the old ones stay in use: ';
      assert.deepEqual(await shown(), [nameOf(first.a), nameOf(first.b), nameOf(first.own)]);

      const bad: [what: string, spoil: (file: string) => void, reason: RegExp][] = [
        [
          'no PEM',
          (file) => writeFileSync(file, '-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n'),
          /damaged/,
        ],
        ['only a certificate', (file) => copyFileSync(issue(asA).cert, file), /no key in the directory fits/],
        ['out of date', (file) => put(file, issue({ ...asA, days: -1 })), /expired on/],
        ['a key that does not fit', (file) => put(file, { key: issue(asA).key, cert: issue(asA).cert }), /no key in/],
      ];
      for (const [what, spoil, reason] of bad) {
        const next = { b: issue(asB), own: issue() };
        spoil(a);
        put(b, next.b);
        put(own, next.own);
        await until(`${what} is told of`, async () => reason.test(await warnings()));
        assert.ok((await warnings()).includes(`${tell}${what === 'no PEM' ? 'sni ' : ''}"`), await warnings());
        await until('the others are taken', async () => (await shown())[1] === nameOf(next.b));
        assert.deepEqual(await shown(), [nameOf(first.a), nameOf(next.b), nameOf(next.own)], what);
      }
      // The pair of the rule itself is one of them.
      const second = { a: issue(asA), b: issue(asB) };
      const before = (await shown())[2];
      put(a, second.a);
      writeFileSync(own, 'rubbish');
      put(b, second.b);
      await until('what is mended is taken', async () => (await shown())[0] === nameOf(second.a));
      await until('its own is told of', async () => /"[^"]*\/own\.pem": bad PEM/.test(await warnings()));
      assert.deepEqual(await shown(), [nameOf(second.a), nameOf(second.b), before]);
      put(own, first.own);
      await until('all is well', async () => (await warnings()) === '');
      // What is taken away goes.
      rmSync(b);
      await until('it is gone', async () => (await shown())[1] === nameOf(first.own));
      assert.equal(await warnings(), '');
      assert.equal(grace.log().match(/certificates not reloaded/g)?.length, bad.length + 1);
    },
  );

test('no handshake fails while certificates are read again and again', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const issue = issuer(pem.dir, pem.intermediate);
  const backend = await startBackend(t, 'A');
  const pairs = [issue(), issue()];
  const both = join(pem.dir, 'both.pem');
  const use = ({ key, cert }: Pair) => {
    writeFileSync(`${both}.new`, readFileSync(key, 'utf8') + readFileSync(cert, 'utf8'));
    renameSync(`${both}.new`, both);
  };
  use(pairs[0]!);
  const src = `ssl:0:privateKey=${both}:interface=127.0.0.1`;
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  const { pid } = await grace.status();
  const rounds = Number(process.env['GRACE_TEST_RELOADS'] ?? 5);
  const perRound = 40;
  const seen = new Set<string>();
  for (let round = 1; round <= rounds; round++) {
    use(pairs[round % 2]!);
    process.kill(pid, 'SIGHUP');
    for (let done = 0; done < perRound; done += 10)
      for (const name of await Promise.all(Array.from({ length: 10 }, () => presented(port)))) seen.add(name);
  }
  await until(
    'every reload is told of',
    () => grace.log().match(/log reopened, certificates reloaded/g)?.length === rounds,
  );
  assert.equal(seen.size, 2);
  t.diagnostic(`${rounds * perRound} handshakes during ${rounds} reloads`);
});
