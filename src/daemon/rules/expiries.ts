/** Until when the certificates that a rule presents are valid. */
import { X509Certificate } from 'node:crypto';
import { readServerDirectory } from '../../endpoint/directory.ts';
import { readClientIdentity, readServerIdentity } from '../../endpoint/files.ts';
import { innerEndpoint, tlsOf } from '../../endpoint/inner.ts';
import type { ClientEndpoint, ServerEndpoint } from '../../endpoint/model.ts';
import { validityOf } from '../../endpoint/validity.ts';

/** Whose certificate it is, and its last moment in seconds since 1970. */
export type Expiry = { name: string; untilSeconds: number };

const quiet = { warn: () => {} };

/** Those that clients see; none of an endpoint that cannot be read, of which whoever serves it has told. */
export function serverExpiries(endpoint: ServerEndpoint): Expiry[] {
  const inner = innerEndpoint(endpoint);
  try {
    if (inner.type === 'tls')
      return readServerDirectory(inner, quiet).map(({ names, validity }) => ({
        name: names.join(' '),
        untilSeconds: validity.untilMs / 1000,
      }));
    return inner.type === 'ssl' ? [expiryOf(readServerIdentity(inner, quiet).cert)] : [];
  } catch {
    return [];
  }
}

/** Those that a destination sees. Of one name the first that ends. */
export function clientExpiries(endpoint: ClientEndpoint): Expiry[] {
  const found = new Map<string, Expiry>();
  for (const each of tlsOf(endpoint)) {
    try {
      const identity = readClientIdentity(each, quiet);
      const expiry = identity && expiryOf(identity.cert);
      if (expiry === null || (found.get(expiry.name)?.untilSeconds ?? Infinity) <= expiry.untilSeconds) continue;
      found.set(expiry.name, expiry);
    } catch {
      // Whoever opened the destination has told of it.
    }
  }
  return [...found.values()];
}

function expiryOf(pem: string): Expiry {
  const certificate = new X509Certificate(pem);
  const name = certificate.subjectAltName?.replace(/DNS:|IP Address:/g, '').replace(/, /g, ' ') ?? certificate.subject;
  return { name, untilSeconds: validityOf(certificate).untilMs / 1000 };
}
