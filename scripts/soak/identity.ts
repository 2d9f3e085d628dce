/** A certificate for the kinds of connections with TLS. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from './rule.ts';

/** Make one in a directory, by openssl; null where that is not installed. */
export function makeIdentity(dir: string): Identity | null {
  const [keyFile, certFile, caDir] = ['key.pem', 'cert.pem', 'ca'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  const made = spawnSync(
    'openssl',
    // prettier-ignore
    [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', keyFile, '-out', certFile,
    ],
    { encoding: 'utf8' },
  );
  if (made.error) return null;
  if (made.status !== 0) throw new Error(`openssl made no certificate: ${made.stderr.trim()}`);
  mkdirSync(caDir);
  copyFileSync(certFile, join(caDir, 'ca.pem'));
  return { keyFile, certFile, caDir, key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
}
