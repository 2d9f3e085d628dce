import { join, resolve } from 'node:path';
import { EndpointError } from './error.ts';
import type { FileOptions, Identity } from './files.ts';
import { fileError, listDirectory, type NamedFile, readCertificates, readText } from './named-file.ts';
import { checkIdentity } from './openssl.ts';
import { openKey } from './passphrase.ts';
import { type Certificate, distinct, privateKeyBlock, publicKeyId, readPrivateKey } from './pem.ts';
import { byValidity, costAdvice, isValidAt, keyWarning, validityOf, validityWarning } from './validity.ts';
import type { Validity } from './validity.ts';

/** One of the identities that a server chooses from by name. */
export type NamedIdentity = Identity & {
  /** The DNS names of the certificate, in lower case; some begin with `*.`. */
  names: string[];
  /** As in `rsa`, `ec`: a server may present one of each kind for the same name, as the client can use them. */
  keyType: string;
  validity: Validity;
  /** The files that key and certificate are in, as absolute paths. */
  keyFile: string;
  certFile: string;
};

type KeyFound = { pem: string; id: string; file: string };
type CertificateFound = Certificate & { file: string };

/**
 * The identities in a directory: keys and certificates of all `.pem` files in it and below, paired by
 * public key, each with the chain that can be built from the certificates without a key. In order
 * of the files' names. Warns of those that are presented although they have expired or soon do.
 * `parameter` is what the directory is called in messages. Throws EndpointError when there is none.
 */
export function readServerDirectory(
  { path, passphrase }: { path: string; passphrase?: string | undefined },
  { parameter = 'path', text = path, warn, advise }: FileOptions & { parameter?: string } = {},
): NamedIdentity[] {
  const directory: NamedFile = { parameter, path, text };
  const { keys, certificates, problems } = readPemFiles(directory, passphrase);
  for (const problem of problems) warn?.(`skipped: ${problem}`);

  const keyIds = new Set(keys.map(({ id }) => id));
  const idOf = new Map(certificates.map((each) => [each, publicKeyId(each.x509.publicKey)]));
  const authorities = certificates.filter((each) => !keyIds.has(idOf.get(each) ?? ''));
  const byAge = byValidity(Date.now());
  authorities.sort((a, b) => byAge(validityOf(a.x509), validityOf(b.x509)));
  const leafOf = new Map<NamedIdentity, Certificate>();
  for (const { pem, id, file: keyFile } of keys) {
    for (const leaf of certificates.filter((each) => idOf.get(each) === id).sort(longestFirst)) {
      const cert = [leaf, ...chainOf(leaf, authorities)].map((each) => each.pem).join('');
      const problem = checkIdentity({ key: pem, cert });
      if (problem !== null) {
        problems.push(
          `${parameter} ${JSON.stringify(path)}: the certificate of ${namesOf(leaf).join(', ')}: ${problem.reason}`,
        );
        warn?.(`skipped: ${problems.at(-1)}; ${problem.hint}`);
        continue;
      }
      leafOf.set(
        {
          names: namesOf(leaf),
          key: pem,
          cert,
          keyType: leaf.x509.publicKey.asymmetricKeyType ?? '',
          validity: validityOf(leaf.x509),
          keyFile,
          certFile: leaf.file,
        },
        leaf,
      );
    }
  }
  const identities = [...leafOf.keys()];
  for (const each of presentedOf(identities)) {
    const leaf = leafOf.get(each);
    if (leaf === undefined) continue;
    for (const warning of [validityWarning(leaf), keyWarning(leaf)])
      if (warning !== null) warn?.(`${parameter} ${JSON.stringify(path)}: ${warning}`);
    const advice = costAdvice(leaf);
    if (advice !== null)
      advise?.(`${parameter} ${JSON.stringify(path)}: the certificate of ${each.names.join(', ')}: ${advice}`);
  }
  if (identities.length > 0) return identities;
  throw fileError(directory, 'no private key with its certificate in it', {
    hint: problems[0] ?? 'it takes files that end in .pem',
  });
}

/** Those that some client may see now: an expired one beside a valid one for its names is none of them. */
export function presentedOf<Named extends Choice>(identities: readonly Named[]): Named[] {
  const named = identities.flatMap(({ names }) => names.flatMap((name) => chooseIdentities(identities, name)));
  return [...new Set([...defaultIdentities(identities), ...named])];
}

type Choice = Pick<NamedIdentity, 'names' | 'keyType' | 'validity'>;

/**
 * The identities for the name that a client sent, the best of each kind of key: valid ones before others,
 * those with that very name before those whose `*.` stands for the first label, and the newest first.
 * None when there are none, and the caller takes its default.
 */
export function chooseIdentities<Named extends Choice>(
  identities: readonly Named[],
  serverName: string,
  nowMs: number = Date.now(),
): Named[] {
  const name = serverName.toLowerCase().replace(/\.$/, '');
  const wildcard = name.replace(/^[^.]+/, '*');
  const isExact = ({ names }: Named) => names.includes(name);
  const isValid = ({ validity }: Named) => isValidAt(validity, nowMs);
  const byAge = byValidity(nowMs);
  const found = identities
    .filter((each) => isExact(each) || each.names.includes(wildcard))
    .sort((a, b) => {
      return (
        Number(isValid(b)) - Number(isValid(a)) ||
        Number(isExact(b)) - Number(isExact(a)) ||
        byAge(a.validity, b.validity)
      );
    });
  const [best] = found;
  if (best === undefined) return [];
  // A second one must be as good: a client that cannot use the best is not served with an expired one, nor one for another name.
  const asGood = found.filter((each) => isValid(each) === isValid(best) && isExact(each) === isExact(best));
  return asGood.filter((each, index) => asGood.findIndex(({ keyType }) => keyType === each.keyType) === index);
}

/** What clients get that send no name, or one that nobody has: the first that is valid, and what has its name. */
export function defaultIdentities<Named extends Choice>(
  identities: readonly Named[],
  nowMs: number = Date.now(),
): Named[] {
  const first = identities.find(({ validity }) => isValidAt(validity, nowMs)) ?? identities[0];
  if (first === undefined) return [];
  const [name] = first.names;
  const chosen = name === undefined ? [] : chooseIdentities(identities, name, nowMs);
  return chosen.length === 0 ? [first] : chosen;
}

/** All keys and certificates, each once, and what could not be used. */
function readPemFiles(
  directory: NamedFile,
  passphrase: string | undefined,
): { keys: KeyFound[]; certificates: CertificateFound[]; problems: string[] } {
  const keys = new Map<string, KeyFound>();
  const certificates: CertificateFound[] = [];
  const problems: string[] = [];
  for (const name of listDirectory(directory, { recursive: true })) {
    if (!name.endsWith('.pem')) continue;
    const file = { ...directory, path: join(directory.path, name) };
    try {
      const text = readText(file);
      const key = readKey(file, text, passphrase);
      if (key !== null && !keys.has(key.id)) keys.set(key.id, key);
      certificates.push(...readCertificates(file, text).map((each) => ({ ...each, file: resolve(file.path) })));
    } catch (error) {
      if (!(error instanceof EndpointError)) throw error;
      problems.push(error.reason);
    }
  }
  return { keys: [...keys.values()], certificates: distinct(certificates), problems };
}

function readKey(file: NamedFile, text: string, passphrase: string | undefined): KeyFound | null {
  const key = privateKeyBlock(text);
  if (key === undefined) return null;
  const pem = key.isEncrypted ? openKey(file, key.text, passphrase) : key.text;
  try {
    return { pem, id: publicKeyId(readPrivateKey(pem)), file: resolve(file.path) };
  } catch (error) {
    throw fileError(file, 'bad PEM: the private key is damaged', { cause: error });
  }
}

/** From the issuer of the leaf upwards, without the self-signed root, which clients have or do not trust. */
function chainOf(leaf: Certificate, authorities: readonly Certificate[]): Certificate[] {
  const chain: Certificate[] = [];
  for (let last = leaf; ;) {
    const issuer = authorities.find((each) => !chain.includes(each) && isIssuedBy(last, each));
    if (issuer === undefined || isIssuedBy(issuer, issuer)) return chain;
    chain.push(issuer);
    last = issuer;
  }
}

function isIssuedBy({ x509 }: Certificate, issuer: Certificate): boolean {
  return x509.checkIssued(issuer.x509) && x509.verify(issuer.x509.publicKey);
}

function longestFirst(a: Certificate, b: Certificate): number {
  return validityOf(b.x509).untilMs - validityOf(a.x509).untilMs;
}

/** The names of `subjectAltName`; of a certificate from before there was one, the common name. */
function namesOf({ x509 }: Certificate): string[] {
  const alternatives = Array.from(
    (x509.subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"]+)/g),
    ([, name = '']) => name,
  );
  const common = /^CN=(\S+)$/m.exec(x509.subject)?.[1];
  const names = alternatives.length === 0 && common !== undefined ? [common] : alternatives;
  return names.map((name) => name.toLowerCase());
}
