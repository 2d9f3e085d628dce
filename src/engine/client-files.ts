/** What the files of a destination with TLS say: who we are to it, and whom we trust. */
import { readClientIdentity, readClientTrust } from '../endpoint/files.ts';
import type { Identity } from '../endpoint/files.ts';
import type { SslClient, TlsClient } from '../endpoint/model.ts';
import { digestOf } from './text-digest.ts';

/** Read at one time. */
export type ClientFiles = {
  /** The certificate that is presented; null: none. */
  readonly identity: Identity | null;
  /** The authorities that are trusted, each as PEM; undefined: nobody is verified, or the system has none. */
  readonly authorities: readonly string[] | undefined;
  /** The same for the same identity and the same authorities alone. */
  readonly digest: string;
};

/** Read them. Throws EndpointError when one is missing or unusable. */
export function readClientFiles(endpoint: SslClient | TlsClient): ClientFiles {
  const authorities = readClientTrust(endpoint);
  const identity = readClientIdentity(endpoint);
  const own = identity === null ? [] : [identity.key, identity.cert];
  return { identity, authorities, digest: digestOf([...own, '', ...(authorities ?? ['the runtime'])]) };
}
