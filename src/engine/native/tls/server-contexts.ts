/** The SSL_CTXs of one frontend: a new one at each reload, and none freed while a client may be on its way to a handshake with it. */
import type { SslServer, TlsServer } from '../../../endpoint/model.ts';
import { readServerParts, readServerPartsAgain } from '../../../endpoint/server-parts.ts';
import type { ServerParts } from '../../../endpoint/server-parts.ts';
import type { TlsPlan } from '../thread-plans.ts';
import type { HandshakeService } from './service.ts';

/** Owned by the frontend. */
export class ServerContexts {
  readonly #service: HandshakeService;
  readonly #endpoint: SslServer | TlsServer;
  /** What the files said of which the current one is made. */
  #parts: ServerParts;
  #current: bigint;
  /** Earlier ones, that clients of these numbers may still be on their way with. */
  readonly #earlier = new Set<bigint>();
  /** Numbers that the frontend has or had in the threads, while these have clients of it. */
  readonly #users = new Set<number>();
  #isClosed = false;

  /** Read the files of the endpoint. Throws EndpointError when one is missing or unusable; GraceError when libssl refuses one. */
  constructor(service: HandshakeService, endpoint: SslServer | TlsServer) {
    this.#service = service;
    this.#endpoint = endpoint;
    this.#parts = readServerParts(endpoint);
    this.#current = service.openContext(endpoint, this.#parts);
  }

  /** The threads accept under this number, until `left` is called for it. */
  enter(id: number): TlsPlan {
    this.#users.add(id);
    const seesTruncation = this.#endpoint.truncation !== undefined;
    return { ...this.#service.planOf(this.#current), seesTruncation };
  }

  /**
   * Read the files again; what is bad stays as it was. Throws GraceError when libssl refuses what they say, and keeps what there was.
   *
   * @returns what clients are to be given away for from now on, and what they were until now, which is to be dropped; why some of
   *     it is still what it was
   */
  reload(): { context: number; before: bigint; problems: readonly string[] } {
    const { parts, problems } = readServerPartsAgain(this.#endpoint, this.#parts);
    const before = this.#current;
    this.#current = this.#service.openContext(this.#endpoint, parts);
    this.#parts = parts;
    this.#earlier.add(before);
    return { context: Number(this.#current), before, problems };
  }

  /** No thread gives a client away for this one any more. */
  drop(before: bigint): void {
    if (this.#earlier.delete(before)) this.#service.free(Number(before));
  }

  left(id: number): void {
    if (this.#users.delete(id)) this.#freeUnused();
  }

  /** Nobody will `enter` again. */
  close(): void {
    this.#isClosed = true;
    this.#freeUnused();
  }

  #freeUnused(): void {
    if (this.#users.size > 0) return;
    for (const context of this.#earlier) this.drop(context);
    if (!this.#isClosed || this.#current === 0n) return;
    this.#service.free(Number(this.#current));
    this.#current = 0n;
  }
}
