/** The same TLS for every peer: one certificate, and a client that offers one version, cipher and group and nothing else. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './program.ts';

export const parameters = { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384', group: 'X25519', key: 'ECDSA P-256' };

/** Towards a backend: with a full handshake for each connection, or resumed where there was one before. */
export type UpstreamTls = 'full' | 'resumed';

export type ClientTls = {
  /** PEM file of key and certificate. */
  pem: string;
  /** Environment of a client on OpenSSL, which then offers the parameters above alone. */
  env: Readonly<Record<string, string>>;
};

export async function setUpTls({ dir, signal }: { dir: string; signal: AbortSignal }): Promise<ClientTls> {
  const pem = join(dir, 'bench.pem');
  const [key, certificate] = [join(dir, 'key.pem'), join(dir, 'certificate.pem')];
  await run(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-keyout',
      key,
      '-out',
      certificate,
    ],
    { signal },
  );
  writeFileSync(pem, `${readFileSync(key, 'utf8')}${readFileSync(certificate, 'utf8')}`, { mode: 0o600 });
  const config = join(dir, 'openssl.cnf');
  const { version, cipher, group } = parameters;
  writeFileSync(
    config,
    `
openssl_conf = bench
[bench]
ssl_conf = clients
[clients]
system_default = client
[client]
MinProtocol = ${version}
MaxProtocol = ${version}
Ciphersuites = ${cipher}
Groups = ${group}
`,
  );
  return { pem, env: { OPENSSL_CONF: config } };
}

/** Rejects when a server does not come to terms with such a client. */
export async function checkTls(
  port: number,
  { env, signal }: { env: ClientTls['env']; signal: AbortSignal },
): Promise<void> {
  const said = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`], { env, signal });
  const { version, cipher, group } = parameters;
  for (const expected of [
    `New, ${version}, Cipher is ${cipher}`,
    `Server Temp Key: ${group}`,
    'Peer signature type: ECDSA',
  ]) {
    if (!said.includes(expected)) throw new Error(`it does not agree on "${expected}"`);
  }
}

/** Rejects when a peer and the backend do not come to terms in that way: with a handshake for each connection, or for the first alone. */
export async function checkUpstreamTls(
  port: number,
  { kind, signal }: { kind: UpstreamTls; signal: AbortSignal },
): Promise<void> {
  const { version, cipher, group } = parameters;
  for (let connections = 0; connections < 3; connections++) {
    const expected = `${version} ${cipher} ${group} ${kind === 'resumed' && connections > 0 ? 'r' : '.'}`;
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' }, signal });
    const said = (await response.text()).trim();
    if (said !== expected) throw new Error(`it agreed with the backend on "${said}", not on "${expected}"`);
  }
}
