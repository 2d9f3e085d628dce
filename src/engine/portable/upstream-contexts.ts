/** What the TLS of one upstream is begun with: new when its files say something new, and never worse than it was. The mirror image of native/tls/upstream-contexts.ts. */
import type { SecureContext } from 'node:tls';
import type { SslClient, TlsClient } from '../../endpoint/model.ts';
import type { TlsEnds } from '../engine.ts';
import type { ClientContexts } from './client-contexts.ts';

/** Those of one upstream, by its ends of TLS: it has several where it is chosen among, or where one leads through another. */
export class UpstreamContexts {
  readonly #shared: ClientContexts;
  readonly #current = new Map<SslClient | TlsClient, SecureContext>();

  /** `shared`: those of all upstreams. */
  constructor(shared: ClientContexts) {
    this.#shared = shared;
  }

  /** Read the files of one end. Throws GraceError when one is missing or unusable. Returns what tells what a handshake is begun with now. */
  open(endpoint: SslClient | TlsClient): () => SecureContext {
    const first = this.#shared.open(endpoint);
    this.#current.set(endpoint, first);
    return () => this.#current.get(endpoint) ?? first;
  }

  /** Read the files of all ends again, or of `only` some. Throws as `open` does, and keeps what there was. */
  reload(only?: TlsEnds): void {
    const ends = [...this.#current.keys()].filter((each) => only?.has(each) !== false);
    const fresh = ends.map((each) => [each, this.#shared.open(each)] as const);
    for (const [each, context] of fresh) this.#current.set(each, context);
  }
}
