import { join } from 'node:path';
import { EndpointError } from './error.ts';
import type { FileOptions, Identity } from './files.ts';
import { fileError, listDirectory, type NamedFile, readCertificates, readText } from './named-file.ts';
import { type Certificate, distinct, privateKeyBlock, publicKeyId, readPrivateKey } from './pem.ts';

/** One of the identities that a server chooses from by name. */
export type NamedIdentity = Identity & {
  /** The DNS names of the certificate, in lower case; some begin with `*.`. */
  names: string[];
};

type KeyFound = { pem: string; id: string };

/**
 * The identities in a directory: keys and certificates of all `.pem` files in it and below, paired by
 * public key, each with the chain that can be built from the certificates without a key. In order
 * of the files' names; one certificate renewed under the same key comes newest first.
 * `parameter` is what the directory is called in messages. Throws EndpointError when there is none.
 */
export function readServerDirectory(
  { path }: { path: string },
  { parameter = 'path', text = path, warn }: FileOptions & { parameter?: string } = {},
): NamedIdentity[] {
  const directory: NamedFile = { parameter, path, text };
  const { keys, certificates, problems } = readPemFiles(directory);
  for (const problem of problems) warn?.(`skipped: ${problem}`);

  const keyIds = new Set(keys.map(({ id }) => id));
  const idOf = new Map(certificates.map((each) => [each, publicKeyId(each.x509.publicKey)]));
  const authorities = certificates.filter((each) => !keyIds.has(idOf.get(each) ?? ''));
  const identities = keys.flatMap(({ pem, id }) => {
    const leaves = certificates.filter((each) => idOf.get(each) === id).sort(newestFirst);
    return leaves.map((leaf) => ({
      names: namesOf(leaf),
      key: pem,
      cert: [leaf, ...chainOf(leaf, authorities)].map((each) => each.pem).join(''),
    }));
  });
  if (identities.length > 0) return identities;
  throw fileError(directory, 'no private key with its certificate in it', { hint: problems[0] ?? 'it takes files that end in .pem' });
}

/**
 * The identity for the name that a client sent: one with that very name, else one whose `*.` stands
 * for the first label; undefined when there is none, and the caller takes its default.
 */
export function chooseIdentity<Named extends { names: readonly string[] }>(identities: readonly Named[], serverName: string): Named | undefined {
  const name = serverName.toLowerCase().replace(/\.$/, '');
  const wildcard = name.replace(/^[^.]+/, '*');
  return identities.find(({ names }) => names.includes(name)) ?? identities.find(({ names }) => names.includes(wildcard));
}

/** All keys and certificates, each once, and what could not be used. */
function readPemFiles(directory: NamedFile): { keys: KeyFound[]; certificates: Certificate[]; problems: string[] } {
  const keys = new Map<string, KeyFound>();
  const certificates: Certificate[] = [];
  const problems: string[] = [];
  for (const name of listDirectory(directory, { recursive: true })) {
    if (!name.endsWith('.pem')) continue;
    const file = { ...directory, path: join(directory.path, name) };
    try {
      const text = readText(file);
      const key = readKey(file, text);
      if (key !== null && !keys.has(key.id)) keys.set(key.id, key);
      certificates.push(...readCertificates(file, text));
    } catch (error) {
      if (!(error instanceof EndpointError)) throw error;
      problems.push(error.reason);
    }
  }
  return { keys: [...keys.values()], certificates: distinct(certificates), problems };
}

function readKey(file: NamedFile, text: string): KeyFound | null {
  const key = privateKeyBlock(text);
  if (key === undefined) return null;
  if (key.isEncrypted) throw fileError(file, 'the private key is encrypted');
  try {
    return { pem: key.text, id: publicKeyId(readPrivateKey(key.text)) };
  } catch (error) {
    throw fileError(file, 'bad PEM: the private key is damaged', { cause: error });
  }
}

/** From the issuer of the leaf upwards, without the self-signed root, which clients have or do not trust. */
function chainOf(leaf: Certificate, authorities: readonly Certificate[]): Certificate[] {
  const chain: Certificate[] = [];
  for (let last = leaf; ; ) {
    const issuer = authorities.find((each) => !chain.includes(each) && isIssuedBy(last, each));
    if (issuer === undefined || isIssuedBy(issuer, issuer)) return chain;
    chain.push(issuer);
    last = issuer;
  }
}

function isIssuedBy({ x509 }: Certificate, issuer: Certificate): boolean {
  return x509.checkIssued(issuer.x509) && x509.verify(issuer.x509.publicKey);
}

function newestFirst(a: Certificate, b: Certificate): number {
  return Date.parse(b.x509.validTo) - Date.parse(a.x509.validTo);
}

/** The names of `subjectAltName`; of a certificate from before there was one, the common name. */
function namesOf({ x509 }: Certificate): string[] {
  const alternatives = Array.from((x509.subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"]+)/g), ([, name = '']) => name);
  const common = /^CN=(\S+)$/m.exec(x509.subject)?.[1];
  const names = alternatives.length === 0 && common !== undefined ? [common] : alternatives;
  return names.map((name) => name.toLowerCase());
}
