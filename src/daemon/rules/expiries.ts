/** Until when the certificates that a rule presents are valid. */
import { X509Certificate } from 'node:crypto';
import { presentedOf, readServerDirectory } from '../../endpoint/directory.ts';
import { readClientIdentity, readServerIdentity } from '../../endpoint/files.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { ServerEndpoint, SslClient, TlsClient } from '../../endpoint/model.ts';
import { validityOf } from '../../endpoint/validity.ts';

/** Whose certificate it is, and its last moment in seconds since 1970. */
export type Expiry = { name: string; untilSeconds: number };

const quiet = { warn: () => {} };

/** Those that clients see; none of an endpoint that cannot be read, of which whoever serves it has told. */
export function serverExpiries(endpoint: ServerEndpoint): Expiry[] {
  const inner = innerEndpoint(endpoint);
  try {
    if (inner.type === 'tls') return directoryExpiries(inner);
    if (inner.type !== 'ssl') return [];
    const own = expiryOf(readServerIdentity(inner, quiet).cert);
    const { sni: path, passphrase } = inner;
    return path === undefined ? [own] : firstOfEach([own, ...directoryExpiries({ path, passphrase })]);
  } catch {
    return [];
  }
}

function directoryExpiries(directory: { path: string; passphrase?: string | undefined }): Expiry[] {
  const presented = presentedOf(readServerDirectory(directory, quiet));
  return firstOfEach(
    presented.map(({ names, validity }) => ({ name: names.join(' '), untilSeconds: validity.untilMs / 1000 })),
  );
}

/** Those that a destination sees. */
export function clientExpiries(endpoints: readonly (SslClient | TlsClient)[]): Expiry[] {
  const found = endpoints.flatMap((each) => {
    try {
      const identity = readClientIdentity(each, quiet);
      return identity === null ? [] : [expiryOf(identity.cert)];
    } catch {
      return []; // whoever opened the destination has told of it
    }
  });
  return firstOfEach(found);
}

/** Of one name the first that ends. */
export function firstOfEach(expiries: readonly Expiry[]): Expiry[] {
  const found = new Map<string, Expiry>();
  for (const each of expiries) {
    const { untilSeconds = Infinity } = found.get(each.name) ?? {};
    if (each.untilSeconds < untilSeconds) found.set(each.name, each);
  }
  return [...found.values()];
}

function expiryOf(pem: string): Expiry {
  const certificate = new X509Certificate(pem);
  const name = certificate.subjectAltName?.replace(/DNS:|IP Address:/g, '').replace(/, /g, ' ') ?? certificate.subject;
  return { name, untilSeconds: validityOf(certificate).untilMs / 1000 };
}
