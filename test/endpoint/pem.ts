import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The files that tests of TLS endpoints name, made anew by the openssl command; `remove` deletes them. */
export type PemFiles = {
  dir: string;
  /** A matching pair for www.example.com and *.example.org, signed by the intermediate, and both in one file. */
  key: string;
  cert: string;
  both: string;
  /** Certificate and intermediate in one file. */
  fullChain: string;
  /** A pair for other.example, signed by itself. */
  otherKey: string;
  otherCert: string;
  encryptedKey: string;
  /** Intermediate and root. */
  chain: string;
  intermediate: string;
  root: string;
  dh: string;
  junk: string;
  missing: string;
  /** Holds the root as ca.pem. */
  caDir: string;
  /** Holds the pair as server.pem. */
  pemDir: string;
  emptyDir: string;
  remove: () => void;
};

export function makePemFiles(): PemFiles {
  const dir = mkdtempSync(join(tmpdir(), 'grace-pem-'));
  const file = (name: string) => join(dir, name);
  const write = (name: string, ...parts: string[]) => {
    writeFileSync(file(name), parts.map((part) => readFileSync(file(part), 'utf8')).join(''));
    return file(name);
  };
  const authority = 'basicConstraints=critical,CA:TRUE';

  makeCertificate(dir, { name: 'root', subject: 'Test Root', extensions: [authority] });
  makeCertificate(dir, { name: 'middle', subject: 'Test Intermediate', extensions: [authority], issuer: 'root' });
  const names = 'subjectAltName=DNS:www.example.com,DNS:*.example.org,IP:127.0.0.1,IP:::1';
  const noAuthority = 'basicConstraints=critical,CA:FALSE';
  makeCertificate(dir, {
    name: 'leaf',
    subject: 'www.example.com',
    extensions: [noAuthority, names],
    issuer: 'middle',
  });
  makeCertificate(dir, {
    name: 'other',
    subject: 'other.example',
    extensions: [noAuthority, 'subjectAltName=DNS:other.example'],
  });
  openssl(['pkey', '-in', file('leaf.key'), '-aes128', '-passout', 'pass:secret', '-out', file('encrypted.key')]);
  openssl(['genpkey', '-genparam', '-algorithm', 'DH', '-pkeyopt', 'group:ffdhe2048', '-out', file('dh.txt')]);
  writeFileSync(file('junk.txt'), 'not PEM\n');
  for (const name of ['ca', 'pem', 'empty']) mkdirSync(file(name));
  write('ca/ca.pem', 'root.crt');

  return {
    dir,
    key: file('leaf.key'),
    cert: file('leaf.crt'),
    both: write('both.txt', 'leaf.key', 'leaf.crt'),
    fullChain: write('full.txt', 'leaf.crt', 'middle.crt'),
    otherKey: file('other.key'),
    otherCert: file('other.crt'),
    encryptedKey: file('encrypted.key'),
    chain: write('chain.txt', 'middle.crt', 'root.crt'),
    intermediate: file('middle.crt'),
    root: file('root.crt'),
    dh: file('dh.txt'),
    junk: file('junk.txt'),
    missing: file('missing.txt'),
    caDir: file('ca'),
    pemDir: join(write('pem/server.pem', 'leaf.key', 'leaf.crt'), '..'),
    emptyDir: file('empty'),
    remove: () => rmSync(dir, { recursive: true }),
  };
}

export type CertificateRequest = {
  /** Of the files `NAME.key` and `NAME.crt`. */
  name: string;
  subject: string;
  extensions: string[];
  /** Name of the pair that signs; by default the certificate signs itself. */
  issuer?: string;
  /** Take the key that is there, instead of a new one. */
  keepKey?: boolean;
  days?: number;
};

/** Make `NAME.key` and `NAME.crt` in a directory. */
export function makeCertificate(
  dir: string,
  { name, subject, extensions, issuer, keepKey = false, days = 30 }: CertificateRequest,
): void {
  const key = join(dir, `${name}.key`);
  if (!keepKey) openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key]);
  const signer = issuer === undefined ? [] : ['-CA', join(dir, `${issuer}.crt`), '-CAkey', join(dir, `${issuer}.key`)];
  openssl([
    'req',
    '-x509',
    '-new',
    '-key',
    key,
    '-subj',
    `/CN=${subject}`,
    '-days',
    `${days}`,
    '-out',
    join(dir, `${name}.crt`),
    ...extensions.flatMap((extension) => ['-addext', extension]),
    ...signer,
  ]);
}

function openssl(args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
