/** Until when the certificates that a rule presents are valid. */
import { X509Certificate } from 'node:crypto';
import { readServerDirectory } from '../../endpoint/directory.ts';
import { readServerIdentity } from '../../endpoint/files.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { ServerEndpoint } from '../../endpoint/model.ts';
import { validityOf } from '../../endpoint/validity.ts';

/** Whose certificate it is, and its last moment in seconds since 1970. */
export type Expiry = { name: string; untilSeconds: number };

/** Those of an endpoint; none of one that cannot be read, of which whoever serves it has told. */
export function expiriesOf(endpoint: ServerEndpoint): Expiry[] {
  const inner = innerEndpoint(endpoint);
  const quiet = { warn: () => {} };
  try {
    if (inner.type === 'tls')
      return readServerDirectory(inner, quiet).map(({ names, validity }) => ({
        name: names.join(' '),
        untilSeconds: validity.untilMs / 1000,
      }));
    if (inner.type !== 'ssl') return [];
    const certificate = new X509Certificate(readServerIdentity(inner, quiet).cert);
    const name =
      certificate.subjectAltName?.replace(/DNS:|IP Address:/g, '').replace(/, /g, ' ') ?? certificate.subject;
    return [{ name, untilSeconds: validityOf(certificate).untilMs / 1000 }];
  } catch {
    return [];
  }
}
