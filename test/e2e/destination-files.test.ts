/** The files of a destination with TLS are followed as those of a source are: by themselves, good ones alone. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { PemFiles } from '../endpoint/pem.ts';
import { rawHello } from '../engine/hellos.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { issuer, nameOf, replaceLink } from './issued-pairs.ts';
import type { Pair } from './issued-pairs.ts';
import { pemFiles } from './pem-files.ts';
import { startTlsBackend } from './tls-backend.ts';

const timeout = 120_000;
const src = 'tcp:0:interface=127.0.0.1';
/** Deno has no engine of ours that speaks TLS. */
const engines: readonly ('native' | 'portable')[] = runtime === 'deno' ? ['portable'] : ['native', 'portable'];

function graceOf(t: TestContext, engine: 'native' | 'portable'): Grace {
  return makeGrace(t, engine === 'portable' ? { GRACE_TLS: 'portable' } : {});
}

/** A server that says to each client whose certificate it has shown, and whether it went on with a session. Returns its port. */
function startAsking(t: TestContext, files: PemFiles): Promise<number> {
  return startTlsBackend(
    t,
    files,
    (socket) => {
      const name = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : 'nobody';
      socket.write(`${name} ${socket.isSessionReused() ? 'resumed' : 'full'}\n`);
      socket.pipe(socket);
    },
    { requestCert: true, rejectUnauthorized: false, ca: readFileSync(files.root), sessionIdContext: 'asking' },
  );
}

/** What the server says to a new client of a rule; `refused` when it is not trusted. With `name`, one that asks for it. */
async function said(t: TestContext, port: number, name?: string): Promise<string> {
  const client = await openClient(t, { port });
  if (name !== undefined) client.socket.write(rawHello({ name }));
  try {
    return await client.line();
  } catch {
    return 'refused';
  } finally {
    client.socket.destroy();
  }
}

/** The file lies elsewhere from now on: Kubernetes' way of changing all files of a directory at once. */
function mount(volume: string, version: string, files: Record<string, string>): void {
  const dir = join(volume, `..${version}`);
  mkdirSync(dir, { recursive: true });
  for (const [name, file] of Object.entries(files)) copyFileSync(file, join(dir, name));
  replaceLink(basename(dir), join(volume, '..data'));
}

for (const engine of engines) {
  test(
    `whom a destination is trusted by is followed, and no session outlives a change (${engine} engine)`,
    { timeout },
    async (t) => {
      const grace = graceOf(t, engine);
      const pem = pemFiles(t);
      const volume = join(pem.dir, 'volume');
      mkdirSync(volume);
      symlinkSync(join('..data', 'ca.pem'), join(volume, 'ca.pem'));
      mount(volume, 'first', { 'ca.pem': pem.root });
      const behind = await startAsking(t, pem);
      const dst = `ssl:127.0.0.1:${behind}:caCertsDir=${volume}`;
      const another = `${src}:backlog=10`;
      for (const each of [src, another]) await grace.ok('start', each, dst);
      const port = await grace.port(src);
      const later = engine === 'native' ? 'nobody resumed' : 'nobody full';
      assert.deepEqual([await said(t, port), await said(t, port)], ['nobody full', later]);
      const open = await openClient(t, { port });
      await open.line();

      const began = performance.now();
      mount(volume, 'second', { 'ca.pem': pem.otherCert });
      await until('it is trusted no more', async () => (await said(t, port)) === 'refused');
      t.diagnostic(`${Math.round(performance.now() - began)} ms`);
      for (let again = 0; again < 3; again++) assert.equal(await said(t, port), 'refused');
      const ofAnother = await grace.port(another);
      await until('nor by another rule', async () => (await said(t, ofAnother)) === 'refused');
      assert.equal(await open.echo('still here'), 'still here');
      assert.match(grace.log(), /certificates reloaded, since their files have changed \{"src":"tcp:0.*"dst":"ssl:127/);

      // A successor follows them, too.
      await grace.ok('restart');
      mount(volume, 'third', { 'ca.pem': pem.root });
      await until('it is trusted again', async () => (await said(t, port)) === 'nobody full');
      assert.equal(await said(t, port), later);
      await open.end();
    },
  );

  test(
    `a destination that only has connections left is followed: who goes back there trusts whom it says now (${engine} engine)`,
    { timeout },
    async (t) => {
      const grace = graceOf(t, engine);
      const pem = pemFiles(t);
      const trusted = join(pem.dir, 'trusted');
      mkdirSync(trusted);
      copyFileSync(pem.root, join(trusted, 'ca.pem'));
      const dst = `ssl:127.0.0.1:${await startAsking(t, pem)}:caCertsDir=${trusted}`;
      await grace.ok('start', src, dst);
      const port = await grace.port(src);
      const open = await openClient(t, { port });
      await open.line();
      await grace.ok('switch', src, (await startBackend(t, 'plain')).endpoint);
      assert.equal(await said(t, port), 'plain');
      copyFileSync(pem.otherCert, join(trusted, 'ca.pem'));
      await until('it has been read', () => /certificates reloaded, since .*"dst":"ssl:/.test(grace.log()));
      await grace.ok('switch', src, dst, '--no-check');
      assert.equal(await said(t, port), 'refused');
      assert.equal(await open.echo('still here'), 'still here');
      await open.end();
    },
  );

  test(
    `a certificate of ours that is renewed is shown to the destination, and ls says until when (${engine} engine)`,
    { timeout },
    async (t) => {
      const grace = graceOf(t, engine);
      const pem = pemFiles(t);
      const issue = issuer(pem.dir, pem.intermediate);
      const live = join(pem.dir, 'live');
      mkdirSync(live);
      const link = ({ key, cert }: Pair) => {
        replaceLink(key, join(live, 'privkey.pem'));
        replaceLink(cert, join(live, 'fullchain.pem'));
      };
      const [first, second] = [issue({ days: 40 }), issue({ days: 90 })];
      link(first);
      const behind = await startAsking(t, pem);
      const dst = `tls:127.0.0.1:${behind}:trustRoots=${pem.caDir}:certificate=${live}/fullchain.pem:privateKey=${live}/privkey.pem`;
      await grace.ok('start', src, dst);
      const port = await grace.port(src);
      assert.equal(await said(t, port), `${nameOf(first)} full`);
      const days = async () => {
        const [row] = await grace.ls();
        assert.ok(row?.clientCertificateEnds !== undefined && row.certificateEnds === undefined);
        return Math.round((Date.parse(row.clientCertificateEnds) - Date.now()) / 86_400_000);
      };
      assert.equal(await days(), 40);
      link(second);
      await until('the new one is shown', async () => (await said(t, port)).startsWith(nameOf(second)));
      assert.equal(await days(), 90);
      assert.match(await grace.ok('ls', '--long'), /^tcp:0:.* shows tls:127.* a certificate until \d{4}-\d\d-\d\d$/m);
      assert.match(
        await grace.ok('metrics'),
        /^grace_certificate_expiry_timestamp_seconds\{src="tcp:0[^"]*",dst="tls:127[^"]*",name="www\.example\.com"\} \d+$/m,
      );
    },
  );

  test(
    `what a destination cannot use is not taken, and said until it is mended or nobody goes there (${engine} engine)`,
    { timeout },
    async (t) => {
      const grace = graceOf(t, engine);
      const pem = pemFiles(t);
      const issue = issuer(pem.dir, pem.intermediate);
      const [key, cert, trusted] = [join(pem.dir, 'used.key'), join(pem.dir, 'used.crt'), join(pem.dir, 'trusted')];
      mkdirSync(trusted);
      const trust = (file: string) => copyFileSync(file, join(trusted, 'ca.pem'));
      trust(pem.root);
      const use = (pair: Pair) => {
        copyFileSync(pair.key, key);
        copyFileSync(pair.cert, cert);
      };
      const first = issue();
      use(first);
      const behind = await startAsking(t, pem);
      const dst = `ssl:127.0.0.1:${behind}:caCertsDir=${trusted}:certKey=${cert}:privateKey=${key}`;
      await grace.ok('start', src, dst);
      const port = await grace.port(src);
      const warnings = async () => ((await grace.ls())[0]?.warnings ?? []).join('\n');
      const bad: [what: string, make: () => void, mend: () => void, reason: RegExp][] = [
        [
          'a key that does not fit',
          () => use({ key: issue().key, cert: issue().cert }),
          () => use(first),
          /used\.key": key does not match certificate/,
        ],
        [
          'our certificate has ended',
          () => use(issue({ days: -1 })),
          () => use(first),
          /used\.crt": the certificate of made-\d+ expired on/,
        ],
        ['no keys', () => use({ key: pem.junk, cert: pem.junk }), () => use(first), /no private key in it/],
        ['a file is gone', () => rmSync(cert), () => use(first), /used\.crt": file not found/],
        ['no authorities', () => trust(pem.junk), () => trust(pem.root), /trusted": no certificates in it/],
        [
          'one file of authorities more, a bad one',
          () => copyFileSync(pem.junk, join(trusted, 'more.pem')),
          () => rmSync(join(trusted, 'more.pem')),
          /more\.pem": bad PEM: no certificate in it/,
        ],
      ];
      for (const [what, make, mend, reason] of bad) {
        make();
        const isSaid = new RegExp(`its certificates have changed, and the old ones stay in use: .*${reason.source}`);
        await until(`it is told that ${what}`, async () => isSaid.test(await warnings()));
        assert.match(await said(t, port), new RegExp(`^${nameOf(first)} `), what);
        assert.match(grace.log(), new RegExp(`certificates not reloaded; the old ones stay .*"dst":"ssl:`));
        mend();
        await until(`it is not told any more that ${what}`, async () => (await warnings()) === '');
        assert.match(await said(t, port), new RegExp(`^${nameOf(first)} `), what);
      }

      writeFileSync(cert, 'junk');
      await until('it is told of', async () => /the old ones stay/.test(await warnings()));
      const text = 'its certificates have changed, and the old ones stay in use: certKey ".*used\\.crt": bad PEM';
      assert.match((await grace.run('ls')).stderr, new RegExp(`^note: tcp:0:.*: ${text}`, 'm'));
      assert.match(await grace.ok('status'), new RegExp(`^warning +tcp:0:.*: ${text}`, 'm'));
      const { warnings: inStatus = [], pid } = await grace.status();
      assert.equal(inStatus.length, 1);
      assert.match(inStatus[0]!, new RegExp(text));
      // It stays so at a signal, and is logged once.
      const told = () => grace.log().match(/certificates not reloaded/g)?.length;
      const before = told();
      process.kill(pid, 'SIGHUP');
      await until('the signal is heard', () => /log reopened$/m.test(grace.log()));
      assert.match(await warnings(), new RegExp(text));
      assert.equal(told(), before);
      const other = await startTlsBackend(t, pem, (socket) => void socket.end('other\n'));
      await grace.ok('switch', src, `ssl:127.0.0.1:${other}:caCertsDir=${trusted}`);
      assert.equal(await warnings(), '');
      assert.deepEqual((await grace.status()).warnings, []);
    },
  );

  test(
    `of destinations by name, one with bad files does not hold up the others (${engine} engine)`,
    { timeout },
    async (t) => {
      const grace = graceOf(t, engine);
      const pem = pemFiles(t);
      const issue = issuer(pem.dir, pem.intermediate);
      const behind = await startAsking(t, pem);
      const ways = ['a', 'b'].map((name) => {
        const [file, trusted] = [join(pem.dir, `${name}.pem`), join(pem.dir, `${name}.trusted`)];
        mkdirSync(trusted);
        const use = ({ key, cert }: Pair) =>
          writeFileSync(file, readFileSync(key, 'utf8') + readFileSync(cert, 'utf8'));
        const trust = (from: string) => copyFileSync(from, join(trusted, 'ca.pem'));
        trust(pem.root);
        return { use, trust, dst: `ssl\\:127.0.0.1\\:${behind}\\:certKey=${file}\\:caCertsDir=${trusted}` };
      });
      const [a, b] = ways as [(typeof ways)[0], (typeof ways)[0]];
      const [first, second, third] = [issue(), issue(), issue()];
      a.use(first);
      b.use(first);
      await grace.ok('start', src, `sni:a.example=${a.dst}:b.example=${b.dst}:default=9`);
      const port = await grace.port(src);
      const shown = async (name: string) => (await said(t, port, `${name}.example`)).split(' ')[0];
      const warnings = async () => (await grace.ls())[0]?.warnings ?? [];

      a.use({ key: issue().key, cert: issue().cert });
      b.use(second);
      await until('the good one is taken', async () => (await shown('b')) === nameOf(second));
      await until('the bad one is told of', async () => (await warnings()).length > 0);
      const told =
        /^its certificates have changed, and the old ones stay in use: certKey ".*\/a\.pem": key does not match/;
      assert.match((await warnings()).join(), told);
      assert.equal(await shown('a'), nameOf(first));
      // A signal reads all of them again, and makes it neither better nor worse.
      b.trust(pem.junk);
      process.kill((await grace.status()).pid, 'SIGHUP');
      await until('both are told of', async () => (await warnings()).length === 2);
      assert.deepEqual([await shown('a'), await shown('b')], [nameOf(first), nameOf(second)]);
      assert.equal(grace.log().match(/certificates not reloaded/g)?.length, 2);
      a.use(third);
      await until('what is mended is taken', async () => (await shown('a')) === nameOf(third));
      assert.match(
        (await warnings()).join(),
        /^its certificates .* caCertsDir ".*\/b\.trusted": no certificates in it/,
      );
      b.trust(pem.root);
      await until('nothing is left to be told', async () => (await warnings()).length === 0);
      assert.equal(await shown('b'), nameOf(second));
    },
  );
}
