import type { ClientEndpoint } from '../../endpoint/model.ts';
import { EndListeners } from '../end-listeners.ts';
import type { ClosingReason } from '../closing-reason.ts';
import { addHead, TallyRow } from '../tally.ts';
import type { Tally } from '../tally.ts';
import { writeId } from '../connection-ids.ts';
import type { ConnectionIds } from '../connection-ids.ts';
import type { ConnectionEnd, EndListener, OpenConnection, TlsEnds, Upstream, UpstreamStats } from '../engine.ts';
import { Connection, EndedHere } from './connection.ts';
import { describeConnection } from './describe.ts';
import type { Chooser } from './choose.ts';
import type { Dialer } from './dial.ts';
import type { UpstreamContexts } from './upstream-contexts.ts';

/** What connects to a destination, or what chooses that for each client. */
type Way = { readonly dial: Dialer } | { readonly choose: Chooser };

/** What it is made of. */
export type PortableUpstreamOptions = {
  endpoint: ClientEndpoint;
  way: Way;
  contexts: Pick<UpstreamContexts, 'reload'>;
  ids: ConnectionIds;
};

/** A destination and its connections: counts them, waits for them, ends them. */
export class PortableUpstream implements Upstream {
  readonly endpoint: ClientEndpoint;
  readonly way: Way;
  readonly #contexts: Pick<UpstreamContexts, 'reload'>;
  readonly #ids: ConnectionIds;
  readonly #connections = new Set<Connection>();
  readonly #waiters = new Set<() => void>();
  readonly #endListeners = new EndListeners();
  #dialing = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #accepted = 0;
  /** How connections went. */
  readonly row = new TallyRow();

  /** `contexts`: those that `way` begins TLS with. */
  constructor({ endpoint, way, contexts, ids }: PortableUpstreamOptions) {
    this.endpoint = endpoint;
    this.way = way;
    this.#contexts = contexts;
    this.#ids = ids;
  }

  reload(only?: TlsEnds): void {
    this.#contexts.reload(only);
  }

  /** What connections it has. */
  list(): OpenConnection[] {
    return [...this.#connections].map((connection) => describeConnection(connection, this));
  }

  /** Close those with these ids. Returns how many there were, when they are gone. */
  async close(ids: ReadonlySet<string>): Promise<number> {
    const found = [...this.#connections].filter(({ id, signal }) => !signal.aborted && ids.has(writeId(id)));
    for (const connection of found) connection.end(new EndedHere('closed'));
    await Promise.all(found.map(({ released }) => released));
    return found.length;
  }

  stats(): UpstreamStats {
    return {
      connections: this.#connections.size,
      dialing: this.#dialing,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    };
  }

  drained({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#connections.size === 0) return resolve();
      const settle = () => {
        this.#waiters.delete(wake);
        signal?.removeEventListener('abort', abort);
      };
      const wake = () => {
        settle();
        resolve();
      };
      const abort = () => {
        settle();
        reject(signal?.reason);
      };
      this.#waiters.add(wake);
      signal?.addEventListener('abort', abort);
    });
  }

  tally(): Tally {
    const sum = this.row.cells.slice();
    addHead(sum, { accepted: this.#accepted, moved: 0, bytesIn: this.#bytesIn, bytesOut: this.#bytesOut });
    return sum;
  }

  destroy(why: ClosingReason = 'closed'): number {
    const ended = [...this.#connections].filter(({ signal }) => !signal.aborted);
    for (const connection of ended) connection.end(new EndedHere(why));
    return ended.length;
  }

  onEnd(listener: EndListener): () => void {
    return this.#endListeners.add(listener);
  }

  /** One of its connections has ended, and was released. */
  connectionEnded(end: ConnectionEnd): void {
    this.#endListeners.tell(end);
  }

  forget(): void {
    // Nothing outlives the object itself.
  }

  /** A client was accepted. Every one that was admitted must be released. */
  admit(): Connection {
    const connection = new Connection(this.#ids.next());
    this.#connections.add(connection);
    this.#dialing++;
    this.#accepted++;
    return connection;
  }

  /** A client came and was refused, before it had anything to do with the upstream. */
  refuse(why: ClosingReason): void {
    this.#accepted++;
    this.row.countRefused(why);
  }

  /** The upstream of the connection is connected, so many milliseconds after it was first dialled. */
  connected(connection: Connection, { legs, connectMs }: { legs: Connection['legs']; connectMs: number }): void {
    connection.legs = legs;
    connection.movedMs = performance.now();
    connection.connectMs = connectMs;
    this.row.countConnect(connectMs);
    this.#endDialing(connection);
  }

  #endDialing(connection: Connection): void {
    if (!connection.isDialing) return;
    connection.isDialing = false;
    this.#dialing--;
  }

  /** A connection that is not connected yet goes to another destination. */
  transfer(connection: Connection, to: PortableUpstream): void {
    if (to === this || !connection.isDialing || !this.#connections.has(connection)) return;
    to.#connections.add(connection);
    to.#dialing++;
    to.#accepted++;
    this.#dialing--;
    this.#accepted--;
    this.#remove(connection);
  }

  movedIn(connection: Connection, bytes: number): void {
    connection.bytesIn += bytes;
    connection.movedMs = performance.now();
    this.#bytesIn += bytes;
  }

  movedOut(connection: Connection, bytes: number): void {
    connection.bytesOut += bytes;
    connection.movedMs = performance.now();
    this.#bytesOut += bytes;
  }

  /** The connection is gone, its sockets are closed. */
  release(connection: Connection, why: ClosingReason): void {
    this.#endDialing(connection);
    this.row.countEnd(why, performance.now() - connection.startedMs);
    this.#remove(connection);
    connection.release();
  }

  #remove(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    for (const wake of this.#waiters) wake();
  }
}

/** Narrows to an upstream of this engine. */
export function ownUpstream(upstream: Upstream): PortableUpstream {
  if (upstream instanceof PortableUpstream) return upstream;
  if (upstream.portable) return ownUpstream(upstream.portable);
  throw new TypeError('the upstream is of another engine');
}
