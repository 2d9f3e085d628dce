/**
 * The files that TLS endpoints name, read and checked when an endpoint is opened and again on every
 * reload. All is returned as PEM text, ready for node:tls. Paths are relative to the working directory.
 */
import { join, resolve } from 'node:path';
import { errorMessage } from '../error.ts';
import { readAuthorities } from './authorities.ts';
import { EndpointError, quoted } from './error.ts';
import type { SslClient, SslServer, TlsClient, TlsServer } from './model.ts';
import { fileError, listDirectory, type NamedFile, readCertificates, readText } from './named-file.ts';
import { nodeTls } from './node-tls.ts';
import { type Certificate, distinct, pemBlocks, privateKeyBlock, publicKeyId, readPrivateKey } from './pem.ts';
import { checkDhParameters, checkIdentity } from './openssl.ts';
import { openKey } from './passphrase.ts';
import { printClient, printServer } from './print.ts';
import { costAdvice, keyWarning, replacementProblem, validityWarning } from './validity.ts';

/** What an error names, and who hears of what was passed over. */
export type FileOptions = {
  /** The endpoint as the user typed it, for messages; by default as grace would write it. */
  text?: string | undefined;
  /** Hears of files that were skipped. */
  warn?: ((warning: string) => void) | undefined;
  /** Hears of what works and could be better, for a person who asks what an endpoint means. */
  advise?: ((advice: string) => void) | undefined;
  /** Hears why what is presented should not replace what is in use. */
  object?: ((problem: string) => void) | undefined;
};

/** Key and certificates of one identity: the leaf first, then its chain. */
export type Identity = { key: string; cert: string };

/** What a listener presents, and whom it lets in. */
export type ServerIdentity = Identity & {
  /** Diffie-Hellman parameters. */
  dhparam?: string;
  /** Authorities that must have signed the certificates of clients. */
  ca?: string;
};

/**
 * What an `ssl:` server presents. Its two files are read as one text, so either may hold both
 * parts; every certificate after the first is sent as its chain, then those of `extraCertChain`.
 */
export function readServerIdentity(
  endpoint: SslServer,
  { text = printServer(endpoint), warn, advise, object }: FileOptions = {},
): ServerIdentity {
  const { privateKey, certKey, extraCertChain, dhParameters, passphrase } = endpoint;
  const chain = extraCertChain === null ? [] : readChain({ parameter: 'extraCertChain', path: extraCertChain, text });
  const keyFile = { parameter: 'privateKey', path: privateKey, text };
  const certFile = certKey === privateKey ? keyFile : { parameter: 'certKey', path: certKey, text };
  const identity: ServerIdentity = readIdentity({ keyFile, certFile, passphrase, chain, warn, advise, object });
  if (dhParameters !== null)
    identity.dhparam = readDhParameters({ parameter: 'dhParameters', path: dhParameters, text });
  const ca = readClientCA(endpoint, { text });
  if (ca !== null) identity.ca = ca;
  return identity;
}

/** The authorities of `clientCA`, as PEM; null when the endpoint asks for no certificates. */
export function readClientCA(
  endpoint: SslServer | TlsServer,
  { text = printServer(endpoint) }: FileOptions = {},
): string | null {
  if (endpoint.clientCA === undefined) return null;
  const file = { parameter: 'clientCA', path: endpoint.clientCA, text };
  return joined(readAuthorities(file));
}

/** The certificate that a client presents; null when the endpoint names none. */
export function readClientIdentity(
  endpoint: SslClient | TlsClient,
  { text = printClient(endpoint), warn, advise, object }: FileOptions = {},
): Identity | null {
  const { parameter, path } = certificateOf(endpoint);
  if (path === null) return null;
  const certFile = { parameter, path, text };
  const keyFile =
    endpoint.privateKey === null ? certFile : { parameter: 'privateKey', path: endpoint.privateKey, text };
  return readIdentity({ keyFile, certFile, passphrase: endpoint.passphrase, chain: [], warn, advise, object });
}

/**
 * The authorities that a client trusts, each as PEM: those of its directory, else the system's, which
 * both runtimes read once in the life of a process.
 * Undefined when the server is not verified, or the runtime finds no authorities of the system: its
 * own are used then.
 */
export function readClientTrust(
  endpoint: SslClient | TlsClient,
  { text = printClient(endpoint), warn }: FileOptions = {},
): string[] | undefined {
  if (endpoint.insecure) return undefined;
  const { parameter, path } = trustOf(endpoint);
  if (path !== null) return readDirectory({ parameter, path, text }, warn);
  // Node lists a certificate of the bundle a second time for each link to it in the directory.
  const system = [...new Set(nodeTls().getCACertificates('system'))];
  return system.length === 0 ? [...nodeTls().getCACertificates('bundled')] : system;
}

/** `ssl` and `tls` have different names for the same things. */
function certificateOf(endpoint: SslClient | TlsClient): { parameter: string; path: string | null } {
  return endpoint.type === 'ssl'
    ? { parameter: 'certKey', path: endpoint.certKey }
    : { parameter: 'certificate', path: endpoint.certificate };
}

/** The directory of authorities, which may not be given, and what the type calls it. */
export function trustOf(endpoint: SslClient | TlsClient): { parameter: string; path: string | null } {
  return endpoint.type === 'ssl'
    ? { parameter: 'caCertsDir', path: endpoint.caCertsDir }
    : { parameter: 'trustRoots', path: endpoint.trustRoots };
}

/** Every certificate of the `.pem` files of a directory, without its subdirectories. */
function readDirectory(directory: NamedFile, warn?: (warning: string) => void): string[] {
  const found = new Map<string, string>();
  for (const name of listDirectory(directory)) {
    if (!/\.pem$/i.test(name)) continue;
    const file = { ...directory, path: join(directory.path, name) };
    try {
      for (const { pem, fingerprint } of readAuthorities(file))
        if (!found.has(fingerprint)) found.set(fingerprint, pem);
    } catch (error) {
      // One stray file must not take the trust of all the others away.
      warn?.(error instanceof EndpointError ? `skipped: ${error.reason}` : errorMessage(error));
    }
  }
  if (found.size === 0)
    throw fileError(directory, 'no certificates in it', { hint: 'it takes files that end in .pem' });
  return [...found.values()];
}

function readChain(file: NamedFile): Certificate[] {
  const chain = readCertificates(file, readText(file));
  if (chain.length === 0) throw fileError(file, 'no certificates in chain file');
  return chain;
}

type IdentityFiles = {
  keyFile: NamedFile;
  certFile: NamedFile;
  passphrase: string | undefined;
  chain: readonly Certificate[];
  warn: FileOptions['warn'];
  advise: FileOptions['advise'];
  object?: FileOptions['object'];
};

function readIdentity({ keyFile, certFile, passphrase, chain, warn, advise, object }: IdentityFiles): Identity {
  const keyText = readText(keyFile);
  const isOneFile = resolve(keyFile.path) === resolve(certFile.path);
  const certText = isOneFile ? '' : readText(certFile);
  const text = `${certText}\n${keyText}`;
  // A leftover in the other file is no match for the key that was named.
  const block = privateKeyBlock(keyText) ?? privateKeyBlock(certText);
  if (block === undefined) throw fileError(keyFile, 'bad PEM: no private key in it');
  const key = block.isEncrypted ? openKey(keyFile, block.text, passphrase) : block.text;
  const certificates = readCertificates(certFile, text);
  const [leaf] = certificates;
  if (leaf === undefined) throw fileError(certFile, 'bad PEM: no certificate in it');
  const keyId = keyIdOf(keyFile, key);
  if (publicKeyId(leaf.x509.publicKey) !== keyId) {
    const isElsewhere = certificates.some(({ x509 }) => publicKeyId(x509.publicKey) === keyId);
    const hint = isElsewhere ? 'the certificate of the key must be the first one in the file' : undefined;
    throw fileError(keyFile, `key does not match certificate ${quoted(resolve(certFile.path))}`, { hint });
  }
  const sent = distinct([...certificates, ...chain]);
  const identity = { key, cert: joined(sent) };
  const problem = checkIdentity(identity);
  if (problem !== null) throw fileError(certFile, problem.reason, { hint: problem.hint });
  for (const warning of [...sent.map((each) => validityWarning(each)), keyWarning(leaf)]) {
    if (warning !== null) warn?.(`${certFile.parameter} ${quoted(resolve(certFile.path))}: ${warning}`);
  }
  const unfit = replacementProblem(sent);
  const where = `${certFile.parameter} ${quoted(resolve(certFile.path))}`;
  if (unfit !== null) object?.(`${where}: ${unfit}`);
  const advice = costAdvice(leaf);
  if (advice !== null) advise?.(`${certFile.parameter} ${quoted(resolve(certFile.path))}: ${advice}`);
  return identity;
}

function keyIdOf(file: NamedFile, pem: string): string {
  try {
    return publicKeyId(readPrivateKey(pem));
  } catch (error) {
    throw fileError(file, 'bad PEM: the private key is damaged', { cause: error });
  }
}

function readDhParameters(file: NamedFile): string {
  const block = pemBlocks(readText(file)).find(({ label }) => label.endsWith('DH PARAMETERS'));
  if (block === undefined) throw fileError(file, 'bad PEM: no DH parameters in it');
  // OpenSSL says nothing of them, and goes without.
  if (block.label.startsWith('X9.42'))
    throw fileError(file, 'X9.42 parameters, which TLS does not use', {
      hint: 'leave dhParameters out, or make new ones: openssl dhparam -out FILE 2048',
    });
  const problem = checkDhParameters(block.text);
  if (problem !== null) throw fileError(file, problem.reason, { hint: problem.hint });
  return block.text;
}

function joined(certificates: readonly Pick<Certificate, 'pem'>[]): string {
  return certificates.map(({ pem }) => pem).join('');
}
