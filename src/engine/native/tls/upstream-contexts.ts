/** The SSL_CTXs of destinations: new ones at each reload, and none freed while a leg may be on its way to a handshake with it. */
import type { SslClient, TlsClient } from '../../../endpoint/model.ts';
import type { UpstreamTls } from '../messages.ts';
import type { HandshakeService } from './service.ts';

/** Those of the upstreams of an engine, by their numbers; one has several where it is chosen among destinations. */
export class UpstreamContexts {
  readonly #contexts = new Map<number, readonly number[]>();

  /** Read the files of a destination. Throws EndpointError when one is missing or unusable; GraceError when libssl refuses one. */
  open(service: HandshakeService, id: number, endpoint: SslClient | TlsClient): UpstreamTls {
    const tls = service.openDestination(endpoint);
    this.#contexts.set(id, [...(this.#contexts.get(id) ?? []), tls.context]);
    return tls;
  }

  /**
   * Read the files of all destinations of an upstream again. Throws as `open` does, and keeps what there was.
   *
   * @param endpoints destinations by their numbers in the threads
   * @returns what handshakes are made with from now on, and what they were until now, which is to be dropped
   */
  reload(
    service: HandshakeService,
    id: number,
    endpoints: ReadonlyMap<number, SslClient | TlsClient>,
  ): { opened: ReadonlyMap<number, UpstreamTls>; before: readonly number[] } {
    const opened = new Map<number, UpstreamTls>();
    try {
      for (const [number, endpoint] of endpoints) opened.set(number, service.openDestination(endpoint));
    } catch (error) {
      for (const { context } of opened.values()) service.free(context);
      throw error;
    }
    const before = this.#contexts.get(id) ?? [];
    this.#contexts.set(
      id,
      [...opened.values()].map(({ context }) => context),
    );
    return { opened, before };
  }

  /** No thread gives a leg away for these any more; `service`: null when there are no handshakes any more. */
  drop(service: HandshakeService | null, contexts: readonly number[]): void {
    for (const context of contexts) service?.free(context);
  }

  /** Nobody dials for the upstream any more. */
  close(service: HandshakeService | null, id: number): void {
    this.drop(service, this.#contexts.get(id) ?? []);
    this.#contexts.delete(id);
  }
}
