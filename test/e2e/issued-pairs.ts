/** Certificates that are renewed while a test runs, and ways in which their files are replaced. */
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { makeCertificate } from '../endpoint/pem.ts';

/** The files of a key, and of its certificate with the chain. */
export type Pair = { key: string; cert: string };

/** Certificates, for www.example.com unless a name is given, that the intermediate has signed, each with a key of its own, and in one file with it. */
export function issuer(dir: string, intermediate: string) {
  let made = 0;
  return (options: { days?: number; chain?: string[]; name?: string } = {}): Pair => {
    const { days = 30, chain = [intermediate], name: dnsName = 'www.example.com' } = options;
    const name = `made-${++made}`;
    const extensions = ['basicConstraints=critical,CA:FALSE', `subjectAltName=DNS:${dnsName}`];
    makeCertificate(dir, { name, subject: name, extensions, issuer: 'middle', days: Math.max(1, days) });
    if (days < 0) expire(dir, name);
    const cert = join(dir, `${name}.chain`);
    writeFileSync(cert, [join(dir, `${name}.crt`), ...chain].map((each) => readFileSync(each, 'utf8')).join(''));
    return { key: join(dir, `${name}.key`), cert };
  };
}

/** Put a certificate that was over yesterday in the place of another. */
function expire(dir: string, name: string): void {
  const file = (end: string) => join(dir, end);
  const [key, csr, cert] = [`${name}.key`, `${name}.csr`, `${name}.crt`].map(file) as [string, string, string];
  execFileSync('openssl', ['req', '-new', '-key', key, '-subj', `/CN=${name}`, '-out', csr]);
  const signer = ['-CA', file('middle.crt'), '-CAkey', file('middle.key'), '-CAcreateserial'];
  execFileSync('openssl', ['x509', '-req', '-in', csr, ...signer, '-days', '-1', '-out', cert], { stdio: 'ignore' });
}

/** Common name of a certificate. */
export const nameOf = ({ cert }: Pair) => basename(cert, '.chain');

/** Put a link, or a file, in the place of another one in one step. */
export function replaceLink(target: string, path: string): void {
  symlinkSync(target, `${path}.new`);
  renameSync(`${path}.new`, path);
}
