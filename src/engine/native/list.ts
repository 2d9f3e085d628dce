/** What connections a thread has, for whoever asks. It is told some at a time: bytes are moved in between. */
import { ENDED, KIND_CLIENT, SHUT } from './connection-table.ts';
import type { ListedConnection } from './messages.ts';
import { peerOf } from './peer.ts';
import type { Relay } from './relay.ts';
import type { Thread } from './thread.ts';

/** Most connections, and most rows of the table looked at, in one answer: a fraction of a millisecond. */
const MAX_LISTED = 200;
const MAX_ROWS = 16_384;

/** Tells of the connections of one thread. */
export class Lister {
  readonly #thread: Thread;
  readonly #relay: Relay;

  constructor(thread: Thread, { relay }: { relay: Relay }) {
    this.#thread = thread;
    this.#relay = relay;
  }

  /** Those of some upstreams, from a descriptor on, as many as one answer holds; and where to go on, null at the end. */
  list(upstreams: readonly number[], from: number): { connections: ListedConnection[]; next: number | null } {
    const { table, number, fdBound } = this.#thread;
    const wanted = new Set(upstreams);
    const end = Math.min(fdBound, from + MAX_ROWS);
    const connections: ListedConnection[] = [];
    for (const client of table.owned(number, KIND_CLIENT, end, from)) {
      if (!wanted.has(table.upstream(client))) continue;
      connections.push(this.#describe(client));
      if (connections.length === MAX_LISTED) return { connections, next: client + 1 };
    }
    return { connections, next: end < fdBound ? end : null };
  }

  #describe(client: number): ListedConnection {
    const { table, ways, now } = this.#thread;
    const chosen = ways.get(client)?.chosen;
    const server = table.other(client);
    const clientTls = this.#relay.wire.agreedOf(client);
    const upstreamTls = server === -1 ? null : this.#relay.wire.agreedOf(server);
    return {
      id: table.id(client),
      upstream: table.upstream(client),
      client: peerOf(this.#thread, client),
      state: server === -1 ? 'dialing' : table.has(client, ENDED | SHUT) ? 'half-closed' : 'open',
      startedMs: Math.round(Date.now() - (now - table.started(client))),
      idleMs: table.quietMs(client, now),
      bytesIn: table.bytes(client),
      bytesOut: server === -1 ? 0 : table.bytes(server),
      ...(chosen && { chosen }),
      ...(clientTls && { clientTls }),
      ...(upstreamTls && { upstreamTls }),
    };
  }
}
