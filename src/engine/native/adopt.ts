/** Connections that come from another process: made here as they were there, frozen. */
import type { MovedConnection, MovedLeg } from '../transfer.ts';
import { limitBuffers } from './buffer-limit.ts';
import type { Chooser } from './choose.ts';
import { BROKEN, ENDED, FROZEN, IS_UNIX, KIND_CLIENT, KIND_SERVER, SHUT } from './connection-table.ts';
import type { Headers } from './headers.ts';
import type { IdleWatch } from './idle.ts';
import { setPeer } from './peer.ts';
import type { Relay } from './relay.ts';
import type { Thread } from './thread.ts';
import type { Terminator } from './tls/terminate.ts';
import type { KeepAlive } from './tune.ts';
import { wayOf } from './way.ts';

type Others = {
  relay: Relay;
  chooser: Chooser;
  headers: Headers;
  terminator: Terminator;
  keepAlive: KeepAlive;
  idle: IdleWatch;
};

/** Takes connections over into one thread, and knows where they came from. */
export class Adopter {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #chooser: Chooser;
  readonly #headers: Headers;
  readonly #terminator: Terminator;
  readonly #keepAlive: KeepAlive;
  readonly #idle: IdleWatch;
  /** Of connections that another process accepted, which one. */
  readonly #origins = new Map<number, number>();

  constructor(thread: Thread, { relay, chooser, headers, terminator, keepAlive, idle }: Others) {
    this.#thread = thread;
    this.#relay = relay;
    this.#chooser = chooser;
    this.#headers = headers;
    this.#terminator = terminator;
    this.#keepAlive = keepAlive;
    this.#idle = idle;
  }

  /**
   * A connection comes, frozen. Its descriptors are this thread's from now on; its place, where there is a
   * limit, and the count of its upstream have been taken for it.
   */
  adopt(moved: MovedConnection, { upstream, frontend }: { upstream: number; frontend: number }): void {
    const { table, frontends } = this.#thread;
    const { client, server } = moved;
    this.#openLeg(client, KIND_CLIENT);
    table.assign(client.fd, upstream, frontend);
    table.setStarted(client.fd, this.#thread.now - ageOf(moved));
    table.setId(client.fd, moved.id ?? this.#thread.ids.next());
    frontends.get(frontend)?.connections.enter();
    setPeer(this.#thread, client.fd, moved.peer);
    if (moved.generation !== undefined) this.#origins.set(client.fd, moved.generation);
    this.#headers.adopt(client.fd, moved);
    if (moved.chosen) this.#chooser.adopt(client.fd, moved.chosen);
    this.#attachCodec(client);
    if (server !== null) {
      this.#openLeg(server, KIND_SERVER);
      this.#attachCodec(server);
      table.pair(client.fd, server.fd);
      limitBuffers(this.#thread, client.fd, server.fd);
      table.setConnectMs(server.fd, moved.connectMs ?? 0);
      this.#relay.setPrelude(client.fd, client.pending);
      this.#relay.setPrelude(server.fd, server.pending);
      this.#keepAliveOf(server, client.fd);
    }
    this.#idle.adopt(client.fd, moved.quietMs ?? 0);
  }

  #openLeg({ fd, isUnix, hasEnded, isShut, isBroken, bytes }: MovedLeg, kind: number): void {
    const { table, number, now } = this.#thread;
    table.open(
      fd,
      number,
      kind | FROZEN | (isUnix ? IS_UNIX : 0) | (hasEnded ? ENDED : 0) | (isShut ? SHUT : 0) | (isBroken ? BROKEN : 0),
    );
    table.addBytes(fd, bytes, now);
    this.#thread.fdBound = Math.max(this.#thread.fdBound, fd + 1);
  }

  #attachCodec({ fd, tls }: MovedLeg): void {
    if (tls) this.#relay.wire.attach(fd, this.#terminator.adopt(fd, tls.state));
  }

  #keepAliveOf({ fd, isUnix }: MovedLeg, client: number): void {
    const { keepAliveMs } = wayOf(this.#thread, client).plan;
    if (!isUnix && keepAliveMs > 0) this.#keepAlive.setNow(fd, keepAliveMs);
  }

  /** Which process of the daemon accepted a client; undefined: this one. */
  originOf(client: number): number | undefined {
    return this.#origins.get(client);
  }

  /** A client is about to be closed. */
  forget(client: number): void {
    this.#origins.delete(client);
  }
}

/** Longest that connections are taken to be on their way, in milliseconds. */
const MAX_TRANSIT_MS = 60_000;

/** For how many milliseconds a connection has been there that comes from another process. The way here counts, unless the clock was set meanwhile. */
function ageOf({ ageMs, startedMs }: MovedConnection): number {
  const byWallMs = Date.now() - startedMs;
  const transitMs = byWallMs - (ageMs ?? byWallMs);
  return Math.max(0, transitMs >= 0 && transitMs < MAX_TRANSIT_MS ? byWallMs : (ageMs ?? 0));
}
