/**
 * Whom destinations trust and what we present to them, as OpenSSL has it: one SecureContext for all of whom that is the same. The
 * authorities of a system take some 10 ms and a megabyte in each. All else (names, protocols, whether anybody asks) is of
 * the connection.
 */
import type { SecureContext } from 'node:tls';
import type { SslClient, TlsClient } from '../../endpoint/model.ts';
import { nodeTls } from '../../endpoint/node-tls.ts';
import { readClientFiles } from '../client-files.ts';

/** Those of an engine, each for as long as somebody has it. */
export class ClientContexts {
  /** By a digest of what they were made of. */
  readonly #contexts = new Map<string, WeakRef<SecureContext>>();
  readonly #collected = new FinalizationRegistry((digest: string) => {
    if (this.#contexts.get(digest)?.deref() === undefined) this.#contexts.delete(digest);
  });

  /** How many are known. */
  get size(): number {
    return this.#contexts.size;
  }

  /** Read the files of an endpoint. Throws GraceError when one is missing or unusable. */
  open(endpoint: SslClient | TlsClient): SecureContext {
    const { identity, authorities, digest } = readClientFiles(endpoint);
    const known = this.#contexts.get(digest)?.deref();
    if (known !== undefined) return known;
    const context = nodeTls().createSecureContext({
      minVersion: 'TLSv1.2',
      // Never the runtime's own choice of authorities, to which `NODE_EXTRA_CA_CERTS` adds.
      ...(authorities === undefined ? {} : { ca: [...authorities] }),
      ...identity,
    });
    this.#contexts.set(digest, new WeakRef(context));
    this.#collected.register(context, digest);
    return context;
  }
}
