/** The SSL_CTXs of destinations: new ones when their files say something new, and none freed while a leg may be on its way to a handshake with it. */
import type { SslClient, TlsClient } from '../../../endpoint/model.ts';
import { readClientFiles } from '../../client-files.ts';
import type { UpstreamTls } from '../thread-plans.ts';
import type { HandshakeService } from './service.ts';

/** An SSL_CTX, and what the files said that it was made of. */
type Made = { readonly context: number; readonly digest: string };

/** Those of one upstream, by its destinations: it has several where it is chosen among. */
type Contexts = ReadonlyMap<SslClient | TlsClient, Made>;

/** Those of the upstreams of an engine, by their numbers. */
export class UpstreamContexts {
  readonly #contexts = new Map<number, Contexts>();

  /** Read the files of a destination. Throws EndpointError when one is missing or unusable; GraceError when libssl refuses one. */
  open(service: HandshakeService, id: number, endpoint: SslClient | TlsClient): UpstreamTls {
    const files = readClientFiles(endpoint);
    const tls = service.openDestination(endpoint, files);
    const { context } = tls;
    this.#contexts.set(id, new Map(this.#contexts.get(id)).set(endpoint, { context, digest: files.digest }));
    return tls;
  }

  /**
   * Read the files of destinations of an upstream again. One whose files say what they said before keeps its SSL_CTX, and with
   * it its sessions; for another one both are new. Throws as `open` does, and keeps what there was.
   *
   * @param endpoints destinations by their numbers in the threads, as they were opened
   * @returns what handshakes are made with from now on, of those that have changed, and what they were until now, which is to be dropped
   */
  reload(
    service: HandshakeService,
    id: number,
    endpoints: ReadonlyMap<number, SslClient | TlsClient>,
  ): { opened: ReadonlyMap<number, UpstreamTls>; before: readonly number[] } {
    const made = new Map(this.#contexts.get(id));
    const opened = new Map<number, UpstreamTls>();
    const before: number[] = [];
    try {
      for (const [number, endpoint] of endpoints) {
        const files = readClientFiles(endpoint);
        const known = made.get(endpoint);
        if (known?.digest === files.digest) continue;
        const tls = service.openDestination(endpoint, files);
        opened.set(number, tls);
        made.set(endpoint, { context: tls.context, digest: files.digest });
        if (known) before.push(known.context);
      }
    } catch (error) {
      for (const { context } of opened.values()) service.free(context);
      throw error;
    }
    this.#contexts.set(id, made);
    return { opened, before };
  }

  /** No thread gives a leg away for these any more; `service`: null when there are no handshakes any more. */
  drop(service: HandshakeService | null, contexts: readonly number[]): void {
    for (const context of contexts) service?.free(context);
  }

  /** Nobody dials for the upstream any more. */
  close(service: HandshakeService | null, id: number): void {
    const contexts = [...(this.#contexts.get(id)?.values() ?? [])];
    this.drop(
      service,
      contexts.map(({ context }) => context),
    );
    this.#contexts.delete(id);
  }
}
