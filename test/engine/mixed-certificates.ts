import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** A directory with certificates for one name, `both.example`, with either kind of key, and one for any name of a domain, `*.wild.example`. Made unless it is there. */
export function makeMixedDirectory(dir: string): void {
  if (existsSync(dir)) return;
  mkdirSync(dir);
  for (const [file, name, ...kind] of [
    ['a-ec', 'both.example', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    ['b-rsa', 'both.example', 'rsa:2048'],
    ['c-wild', '*.wild.example', 'rsa:2048'],
  ] as const) {
    const [key, cert] = [join(dir, `${file}.key.pem`), join(dir, `${file}.pem`)];
    const about = ['-nodes', '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`];
    execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, ...about, '-keyout', key, '-out', cert], {
      stdio: 'pipe',
    });
  }
}
