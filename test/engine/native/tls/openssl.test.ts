/** The openssl command as a client and as a destination, with each version, suite and key exchange that it knows. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openNativeTls } from '../../native-engine.ts';
import { openEcho, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { pemFiles, sslFrom, sslTo } from '../../tls-peers.ts';

const isNative = process.platform === 'linux' && !('Deno' in globalThis);
const isThere = spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0;
const options = { timeout: 120_000, skip: !isNative || (!isThere && 'openssl is not installed') };
const pem = pemFiles();
const children = new Set<ChildProcess>();
after(() => children.forEach((child) => child.kill('SIGKILL')));

type Row = { version: '1.3' | '1.2'; suite: string; group: string };

const groups = ['X25519', 'P-256', 'P-384', 'X25519MLKEM768'];
const rows: Row[] = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'].flatMap((suite) =>
    groups.map((group): Row => ({ version: '1.3', suite, group })),
  ),
  ...['ECDSA', 'RSA'].flatMap((key) =>
    ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'].flatMap((cipher) =>
      // A certificate of P-256 needs a client that knows this curve.
      [key === 'RSA' ? 'X25519' : 'X25519:P-256', 'P-256'].map((group): Row => ({
        version: '1.2',
        suite: `ECDHE-${key}-${cipher}`,
        group,
      })),
    ),
  ),
];

/** What holds either side of the command to a row. */
function holdTo({ version, suite, group }: Row): string[] {
  const ofVersion = version === '1.3' ? ['-tls1_3', '-ciphersuites', suite] : ['-tls1_2', '-cipher', suite];
  return [...ofVersion, '-groups', group];
}

/** Whether this openssl has the key exchange: one before 3.5 has none after quantum computers. */
const knows = (group: string): boolean =>
  spawnSync('openssl', ['s_client', '-groups', group, '-connect', '127.0.0.1:0'], { encoding: 'utf8' }).stderr.includes(
    'Call to SSL_CONF_cmd(-groups',
  ) === false;

/** A key and certificate of RSA, which sign for themselves. */
function makeRsa(): { privateKey: string; certKey: string } {
  const [privateKey, certKey] = [join(pem().dir, 'rsa.key'), join(pem().dir, 'rsa.crt')];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=www.example.com', '-days', '3'];
  const name = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:www.example.com'];
  execFileSync('openssl', [...request, ...name, '-keyout', privateKey, '-out', certKey], { stdio: 'ignore' });
  return { privateKey, certKey };
}

function start(args: readonly string[]) {
  const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  child.stdin.on('error', () => {}); // it has ended, and says why
  let said = '';
  let wake = () => {};
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      wake();
    });
  child.once('close', () => wake());
  const hears = async (what: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = what.exec(said);
      if (found) return found;
      if (child.exitCode !== null) throw new Error(`openssl ${args.join(' ')} ended: ${said}`);
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { child, hears };
}

test('openssl s_client is echoed with each version, suite and key exchange', options, async (t) => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const elliptic = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
  const rsa = await rig.forward({ to: to(echo), from: sslFrom(pem(), makeRsa()) });
  const unknown = groups.filter((group) => !knows(group));
  if (unknown.length > 0) t.diagnostic(`this openssl does not know ${unknown.join(', ')}`);
  for (const row of rows.filter(({ group }) => !unknown.includes(group))) {
    const { address } = row.suite.includes('RSA') ? rsa : elliptic;
    const { port } = address as { port: number };
    const { child, hears } = start(['s_client', '-brief', '-connect', `127.0.0.1:${port}`, ...holdTo(row)]);
    const [, version, suite] = await hears(/Protocol version: TLSv(\S+)\nCiphersuite: (\S+)/);
    assert.deepEqual([version, suite], [row.version, row.suite]);
    child.stdin.write('over and out\n');
    await hears(/^over and out$/m);
    child.stdin.end();
    await once(child, 'close');
  }
});

test('openssl s_server answers as a destination with each version, suite and key exchange', options, async () => {
  await using rig = new Rig(openNativeTls);
  const { dir, cert, chain, key } = pem();
  const rsa = makeRsa();
  const caCertsDir = join(dir, 'rsa');
  mkdirSync(caCertsDir);
  copyFileSync(rsa.certKey, join(caCertsDir, 'ca.pem'));
  for (const row of rows.filter(({ group }) => knows(group))) {
    const isRsa = row.suite.includes('RSA');
    const identity = isRsa
      ? ['-cert', rsa.certKey, '-key', rsa.privateKey]
      : ['-cert', cert, '-cert_chain', chain, '-key', key];
    const { child, hears } = start(['s_server', '-accept', '127.0.0.1:0', '-rev', ...identity, ...holdTo(row)]);
    const [, port] = await hears(/ACCEPT \S+:(\d+)/);
    const { connect } = await rig.forward({ to: sslTo(Number(port), pem(), isRsa ? { caCertsDir } : {}) });
    const client = await connect();
    client.write('over and out\n');
    assert.equal(await readBytes(client, 13), 'tuo dna revo\n', JSON.stringify(row));
    client.destroy();
    child.kill('SIGKILL');
    await once(child, 'close');
  }
});
