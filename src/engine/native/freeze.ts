/**
 * Connections between two processes. Frozen, a connection gives no event and moves no byte; its
 * sockets can be passed on with what waits in memory. It then goes on here, or is let go: closed
 * without a word to its peers, since another process has the same sockets.
 */
import type { DialAge, MovedConnection, MovedLeg } from '../transfer.ts';
import type { Adopter } from './adopt.ts';
import type { Chooser } from './choose.ts';
import type { Destroyer } from './destroy.ts';
import type { Dialer } from './dial.ts';
import type { Headers } from './headers.ts';
import { EPOLLOUT, TCP_EVENTS, UNIX_EVENTS } from './epoll-events.ts';
import {
  BLOCKED,
  BROKEN,
  CODED,
  DOOMED,
  ENDED,
  FROZEN,
  HEADING,
  IS_UNIX,
  KIND_CLIENT,
  READABLE,
  READ_TO_END,
  SHAKING,
  SHUT,
} from './connection-table.ts';
import { peerOf } from './peer.ts';
import type { Relay } from './relay.ts';
import type { Thread } from './thread.ts';
import type { WaitingRoom } from './waiting-room.ts';

type FreezerOthers = {
  relay: Relay;
  dialer: Dialer;
  chooser: Chooser;
  waitingRoom: WaitingRoom;
  adopter: Adopter;
  destroyer: Destroyer;
  headers: Headers;
};

/** Stops and goes on with the connections of one thread. */
export class Freezer {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #dialer: Dialer;
  readonly #chooser: Chooser;
  readonly #waitingRoom: WaitingRoom;
  readonly #adopter: Adopter;
  readonly #destroyer: Destroyer;
  readonly #headers: Headers;
  /** How long those that were being dialled had been, for when they go on here. */
  readonly #ages = new Map<number, DialAge>();

  constructor(thread: Thread, { relay, dialer, chooser, waitingRoom, adopter, destroyer, headers }: FreezerOthers) {
    this.#thread = thread;
    this.#relay = relay;
    this.#dialer = dialer;
    this.#chooser = chooser;
    this.#waitingRoom = waitingRoom;
    this.#adopter = adopter;
    this.#destroyer = destroyer;
    this.#headers = headers;
  }

  /** Freeze up to `limit` connections of an upstream, those with TLS if `tls` says so. */
  freeze(
    upstream: number,
    { limit, tls }: { limit: number; tls: boolean },
  ): { connections: MovedConnection[]; shaking: number } {
    const { table, number, fdBound } = this.#thread;
    const connections: MovedConnection[] = [];
    let shaking = 0;
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      if (table.upstream(client) !== upstream || table.has(client, FROZEN)) continue;
      const isShaking = this.#isShaking(client);
      if (isShaking) shaking++;
      if (isShaking || this.#isStuck(client) || (!tls && this.#speaksTls(client))) continue;
      connections.push(this.#freezeOne(client));
      if (connections.length === limit) break;
    }
    return { connections, shaking };
  }

  /** A handshake is finished where it was begun, also one that a PROXY header is to come before. */
  #isShaking(client: number): boolean {
    const { table, frontends } = this.#thread;
    if (table.has(client, SHAKING)) return true;
    return table.has(client, HEADING) && (frontends.get(table.frontend(client))?.plan.tls ?? null) !== null;
  }

  /** Whether a codec cannot write down what it knows: that is finished here, too. */
  #isStuck(client: number): boolean {
    const { table } = this.#thread;
    const isStuck = (fd: number) => fd !== -1 && table.has(fd, CODED) && this.#relay.wire.snapshotOf(fd) === null;
    return isStuck(client) || isStuck(table.other(client));
  }

  /** Also one that is not connected yet: whoever takes no TLS may not be able to go on with its dial. */
  #speaksTls(client: number): boolean {
    const { table, upstreams } = this.#thread;
    const server = table.other(client);
    const { tls, sni } = upstreams.get(table.upstream(client))!.plan;
    if (server === -1 && (tls !== null || sni?.ways.some(({ plan }) => plan.tls !== null))) return true;
    return table.has(client, CODED) || (server !== -1 && table.has(server, CODED));
  }

  #freezeOne(client: number): MovedConnection {
    const { table, kernel, ways, now } = this.#thread;
    const age = this.#dialer.ageOf(client) ?? this.#chooser.ageOf(client);
    if (age) this.#ages.set(client, age);
    // What is being dialled is dialled anew by whoever goes on with it: nothing was read yet.
    this.#dialer.abandon(client);
    this.#chooser.abandon(client);
    this.#waitingRoom.leave(client);
    const server = table.other(client);
    const chosen = server === -1 ? undefined : ways.get(client)?.chosen;
    for (const fd of server === -1 ? [client] : [client, server]) {
      kernel.unwatch(fd);
      table.set(fd, FROZEN);
    }
    return {
      client: this.#describe(client),
      server: server === -1 ? null : this.#describe(server),
      startedMs: Math.round(Date.now() - (now - table.started(client))),
      ageMs: now - table.started(client),
      peer: peerOf(this.#thread, client),
      ...(server !== -1 && { connectMs: table.connectMs(server) }),
      generation: this.#adopter.originOf(client),
      quietMs: table.quietMs(client, now),
      id: table.id(client),
      ...(chosen && { chosen }),
      ...(age && { dialing: age }),
      ...this.#headers.describe(client),
    };
  }

  #describe(fd: number): MovedLeg {
    const { table } = this.#thread;
    return {
      fd,
      isUnix: table.has(fd, IS_UNIX),
      hasEnded: table.has(fd, ENDED),
      isShut: table.has(fd, SHUT),
      isBroken: table.has(fd, BROKEN),
      pending: this.#relay.pendingOf(fd),
      bytes: table.bytes(fd),
      ...(table.has(fd, CODED) && { tls: { state: this.#relay.wire.snapshotOf(fd)! } }),
    };
  }

  /** Go on with frozen connections. */
  thaw(clients: readonly number[]): void {
    const { table } = this.#thread;
    for (const client of clients) {
      if (!table.has(client, FROZEN)) continue;
      const server = table.other(client);
      const age = this.#ages.get(client);
      this.#ages.delete(client);
      if (table.has(client, DOOMED)) {
        this.#thread.end(client, {
          stage: 'relay',
          why: this.#destroyer.doomOf(client),
          reason: null,
          reset: false,
        });
        continue;
      }
      const watched = (server === -1 ? [client] : [client, server]).map((fd) => this.#watch(fd));
      const failed = watched.find((result) => result < 0);
      if (failed !== undefined) {
        // Of what is not watched nobody would hear again.
        this.#thread.end(client, {
          stage: 'relay',
          why: 'shortage',
          reason: { failures: [{ address: -1, errno: -failed }] },
          reset: true,
        });
        continue;
      }
      if (table.has(client, HEADING)) this.#headers.thaw(client);
      else if (server === -1) this.#waitingRoom.enter(client, age);
      else this.#relay.begin(client);
    }
  }

  #watch(fd: number): number {
    const { table, kernel } = this.#thread;
    table.clear(fd, FROZEN);
    // A new watch gives an event for what is there already. Whether an end came meanwhile, only reading tells.
    table.set(fd, READABLE | READ_TO_END);
    const mask = table.has(fd, IS_UNIX) ? UNIX_EVENTS | (table.has(fd, BLOCKED) ? EPOLLOUT : 0) : TCP_EVENTS;
    return kernel.watch(fd, mask, table.generation(fd));
  }

  /** Forget frozen connections that another process has. */
  release(clients: readonly number[]): void {
    const { table } = this.#thread;
    for (const client of clients) {
      this.#ages.delete(client);
      if (table.has(client, FROZEN))
        this.#thread.end(client, { stage: 'relay', why: 'closed', reason: null, reset: false, isSilent: true });
    }
  }

  /** Take over connections of another process. Their descriptors are this thread's from now on. */
  adopt(connections: readonly MovedConnection[], { upstream, frontend }: { upstream: number; frontend: number }): void {
    for (const connection of connections) {
      const client = connection.client.fd;
      this.#adopter.adopt(connection, { upstream, frontend });
      if (connection.dialing) this.#ages.set(client, connection.dialing);
      this.thaw([client]);
    }
  }
}
