/** Certificates that were good once, are not yet, or never were: of destinations, and of clients. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { SslClient } from '../../src/endpoint/model.ts';
import { until } from '../until.ts';
import { makeCertificate } from '../endpoint/pem.ts';
import { endingOf, openEcho, readBytes } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { pemFiles, sslFrom, sslTo } from './tls-peers.ts';

const options = { timeout: 120_000, skip: 'Deno' in globalThis && 'the peers that it needs are Node alone' };
const versions = ['-tls1_2', '-tls1_3'] as const;
type Version = (typeof versions)[number];

/** `days`: how long from now on; `from`, `until`: of its validity in place of that, as ASN.1 has times. */
type Making = {
  key?: readonly string[];
  issuer?: string | null;
  usage?: string;
  from?: string;
  until?: string;
};

const ec = ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'] as const;
const rsa = (bits: number) => ['RSA', '-pkeyopt', `rsa_keygen_bits:${bits}`] as const;
const past = { from: '20200101000000Z', until: '20200201000000Z' };
const future = { from: '20990101000000Z', until: '20990201000000Z' };

/** A pair for 127.0.0.1, signed by itself (`issuer` null) or by the pair of that name. */
function make(dir: string, name: string, { key = ec, issuer = 'root', usage, from, until }: Making) {
  const file = (end: string) => `${dir}/${name}.${end}`;
  const run = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  run('genpkey', '-algorithm', ...key, '-out', file('key'));
  const config = file('cnf');
  const lines = [
    '[ca]\ndefault_ca=own\n[own]',
    `database=${file('index')}\nnew_certs_dir=${dir}\nserial=${file('serial')}\ndefault_md=sha256`,
    'policy=any\nunique_subject=no\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=any\n[extensions]',
    `subjectAltName=IP:127.0.0.1\n${usage === undefined ? '' : `extendedKeyUsage=${usage}`}`,
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  writeFileSync(file('index'), '');
  writeFileSync(file('serial'), '01\n');
  run('req', '-new', '-config', config, '-key', file('key'), '-subj', `/CN=${name}`, '-out', file('csr'));
  const signer =
    issuer === null
      ? ['-selfsign', '-keyfile', file('key')]
      : ['-keyfile', `${dir}/${issuer}.key`, '-cert', `${dir}/${issuer}.crt`];
  const dates = from === undefined ? ['-days', '30'] : ['-startdate', from, '-enddate', until!];
  const asked = ['-config', config, '-batch', '-notext', '-extensions', 'extensions', '-in', file('csr')];
  run('ca', ...asked, '-out', file('crt'), ...signer, ...dates);
  return { key: file('key'), cert: file('crt') };
}

/** A flaw: what is made, and what both engines say of it. */
const flaws: readonly [string, Making, RegExp, only?: Version][] = [
  ['that has expired', past, /not trusted: .*\bexpired \(CERT_HAS_EXPIRED\)$/],
  ['that is not valid yet', future, /not trusted: .*not yet valid \(CERT_NOT_YET_VALID\)$/],
  ['signed by itself', { issuer: null }, /not trusted: .*self-signed certificate \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/],
  ['of an unknown authority', { issuer: 'impostor' }, /not trusted: .*(issuer|verify).*\([A-Z_]+\)$/],
  ['of a client', { usage: 'clientAuth' }, /not trusted: .*purpose \(INVALID_PURPOSE\)$/],
  ['with RSA of 1024 bits', { key: rsa(1024) }, /not trusted: .*key too (small|weak) \([A-Z_]+\)$/],
  ['with RSA of 512 bits', { key: rsa(512) }, /not trusted: .*key too (small|weak) \([A-Z_]+\)$/, '-tls1_2'],
];

const refusals: readonly [string, Making | null, RegExp, alert: Record<Version, RegExp>][] = [
  ['that has expired', past, /expired|EXPIRED/, both(/alert certificate expired/)],
  ['that is not valid yet', future, /not yet valid|NOT_YET/, both(/alert bad certificate/)],
  [
    'of an unknown authority',
    { issuer: 'impostor' },
    /\(.+\)$/,
    both(/alert (unknown ca|decrypt error|bad certificate)/),
  ],
  ['of a server', { usage: 'serverAuth' }, /purpose|PURPOSE/, both(/alert (unsupported certificate|bad certificate)/)],
  [
    'that is none',
    null,
    /peer did not return a certificate|certificate/i,
    { '-tls1_2': /alert handshake failure/, '-tls1_3': /alert certificate required/ },
  ],
];

function both(alert: RegExp): Record<Version, RegExp> {
  return { '-tls1_2': alert, '-tls1_3': alert };
}

/** `saysWhy`: whether a client is told by an alert why it is refused, and not only ended. */
export function tlsCertificateSuite(openEngine: OpenEngine, { saysWhy }: { saysWhy: boolean }): void {
  const pem = pemFiles();
  const made = new Map<string, { key: string; cert: string }>();

  function pairOf(what: string, making: Making) {
    const { dir } = pem();
    if (!made.has('impostor')) {
      made.set('impostor', { key: '', cert: '' });
      const extensions = ['basicConstraints=critical,CA:TRUE'];
      makeCertificate(dir, { name: 'impostor', subject: 'Test Root', extensions });
    }
    const name = what.replaceAll(' ', '-');
    if (!made.has(name)) made.set(name, make(dir, name, making));
    return made.get(name)!;
  }

  /** openssl s_server, which takes weak keys too, and turns lines round. */
  async function openServer({ key, cert }: { key: string; cert: string }, version: Version) {
    const weak = ['-cipher', 'DEFAULT:@SECLEVEL=0'];
    const args = ['s_server', '-accept', '127.0.0.1:0', '-key', key, '-cert', cert, '-rev', version, ...weak];
    const child = spawn('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const exit = once(child, 'exit');
    let port = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      port = Number(/ACCEPT .*:([0-9]+)$/.exec(line)?.[1]);
      if (port > 0) break;
    }
    return {
      port,
      async [Symbol.asyncDispose]() {
        child.kill();
        await exit;
      },
    };
  }

  for (const version of versions)
    for (const [what, making, reason, only] of flaws)
      test(
        `a destination with a certificate ${what} is not trusted, but with insecure=yes (${version.slice(1)})`,
        {
          ...options,
          skip: options.skip || (only !== undefined && only !== version && 'it cannot sign for this version'),
        },
        async () => {
          await using rig = new Rig(openEngine);
          await using server = await openServer(pairOf(what, making), version);
          const { connect } = await rig.forward({ to: sslTo(server.port, pem()) });
          const client = await connect();
          client.write('secret\n');
          assert.equal(await endingOf(client), 'reset');
          const { stage, error } = (await rig.endedConnections(1))[0]!;
          assert.equal(stage, 'dial');
          assert.match(error?.message ?? '', reason);
          const insecure: Partial<SslClient> = { insecure: true, caCertsDir: null };
          const trusting = await rig.forward({ to: sslTo(server.port, pem(), insecure) });
          const other = await trusting.connect();
          other.write('evil\n');
          assert.equal(await readBytes(other, 5), 'live\n');
          other.destroy();
          await rig.endedConnections(2);
        },
      );

  for (const version of versions)
    for (const clientAuth of ['required', 'optional'] as const)
      for (const [what, making, reason, alert] of refusals)
        test(
          `clientAuth=${clientAuth}: a client with a certificate ${what} is ${making === null && clientAuth === 'optional' ? 'let in' : 'refused'} (${version.slice(1)})`,
          options,
          async () => {
            await using rig = new Rig(openEngine);
            await using echo = await openEcho();
            const from = sslFrom(pem(), { clientCA: pem().root, clientAuth });
            const { address } = await rig.forward({ to: to(echo), from });
            assert.ok('port' in address);
            const pair = making && pairOf(`client ${what}`, making);
            const identity = pair ? ['-key', pair.key, '-cert', pair.cert] : [];
            const where = ['-connect', `127.0.0.1:${address.port}`, version, '-CAfile', pem().root];
            const client = spawn('openssl', ['s_client', '-quiet', ...where, ...identity]);
            let [heard, said] = ['', ''];
            client.stdout.on('data', (data: Buffer) => (heard += data.toString('latin1')));
            client.stderr.on('data', (data: Buffer) => (said += data.toString('latin1')));
            client.stdin.on('error', () => {});
            client.stdin.write('let me in\n');
            const isLetIn = making === null && clientAuth === 'optional';
            // Who is let in does not end by itself.
            if (isLetIn) {
              await until('it is answered', () => heard === 'let me in\n');
              client.kill();
            }
            await once(client, 'close');
            const { stage, error, tls } = (await rig.endedConnections(1))[0]!;
            if (isLetIn) {
              assert.deepEqual([error, tls?.client], [null, undefined]);
              return;
            }
            assert.equal(heard, '');
            assert.equal(echo.accepted, 0);
            assert.equal(stage, 'handshake');
            assert.match(error?.message ?? '', /^TLS handshake failed: [^\n]+$/);
            assert.match(error?.message ?? '', reason);
            if (saysWhy) assert.match(said, alert[version]);
          },
        );
}
