/**
 * What comes before a client may be dialled for, the stage `handshake` of its connection: its PROXY header and its
 * TLS handshake, where its frontend wants them. Between those who are accepted and the waiting room.
 */
import { DOOMED, KIND_CLIENT, READABLE, READ_TO_END, SHAKING } from './connection-table.ts';
import type { Destroyer } from './destroy.ts';
import type { Headers } from './headers.ts';
import { EPOLLERR, EPOLLHUP, EPOLLPRI, EPOLLRDHUP, TCP_EVENTS, UNIX_EVENTS } from './epoll-events.ts';
import type { Relay } from './relay.ts';
import type { Thread, ThreadFrontend } from './thread.ts';
import type { Terminator } from './tls/terminate.ts';
import type { WaitingRoom } from './waiting-room.ts';

type Others = {
  relay: Relay;
  waitingRoom: WaitingRoom;
  terminator: Terminator;
  headers: Headers;
  destroyer: Destroyer;
};

/** The clients of one thread in that stage. The mirror image is upstream-handshake.ts. */
export class ClientHandshakes {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #waitingRoom: WaitingRoom;
  readonly #terminator: Terminator;
  readonly #headers: Headers;
  readonly #destroyer: Destroyer;

  constructor(thread: Thread, { relay, waitingRoom, terminator, headers, destroyer }: Others) {
    this.#thread = thread;
    this.#relay = relay;
    this.#waitingRoom = waitingRoom;
    this.#terminator = terminator;
    this.#headers = headers;
    this.#destroyer = destroyer;
  }

  /**
   * A client was accepted, and its row is filled in: watch it, and let it in after what its frontend wants first.
   * Returns false when it could not be watched or was refused, and has been ended.
   */
  begin(client: number, frontend: ThreadFrontend, generation: number): boolean {
    const { isUnix, header, tls } = frontend.plan;
    if (header !== null && !this.#headers.begin(client, header)) return false;
    if (header === null && tls !== null) return this.#shake(client, frontend);
    const watched = this.#thread.kernel.watch(client, isUnix ? UNIX_EVENTS : TCP_EVENTS, generation);
    if (!this.#isWatched(client, watched)) return false;
    if (header !== null) return this.#lookForHeader(client, generation);
    this.#waitingRoom.enter(client);
    return true;
  }

  /** Returns false when a client could not be watched, of which nobody would hear again, and has been ended. */
  #isWatched(client: number, result: number): boolean {
    if (result >= 0) return true;
    this.#thread.end(client, {
      stage: 'dial',
      why: 'shortage',
      reason: { failures: [{ address: -1, errno: -result }] },
      reset: true,
    });
    return false;
  }

  /** Have a client shake hands, whom nobody watches. Returns false when it has been ended. */
  #shake(client: number, { plan }: ThreadFrontend): boolean {
    const { table } = this.#thread;
    table.set(client, SHAKING);
    return this.#isWatched(client, this.#terminator.give(client, plan, table.generation(client)));
  }

  /** The header of a client that was just accepted is often there. Returns false when the client has been ended. */
  #lookForHeader(client: number, generation: number): boolean {
    this.handleHeading(client, 0);
    return this.#thread.table.generation(client) === generation;
  }

  /** Events of a client whose PROXY header has not come: once it has, the client goes on as one that was just accepted. */
  handleHeading(client: number, mask: number): void {
    const { table, kernel, frontends } = this.#thread;
    if (!this.#headers.handle(client, mask)) return;
    const frontend = frontends.get(table.frontend(client));
    if (!frontend?.plan.tls) return this.#waitingRoom.enter(client);
    // What has come of its handshake is still in its socket, and is an event for whoever watches that next.
    kernel.unwatch(client);
    table.clear(client, READABLE | READ_TO_END);
    this.#shake(client, frontend);
  }

  /** A client has come back from its TLS handshake, which may have failed. */
  shaken(client: number, mask: number): void {
    const { table, frontends, upstreams } = this.#thread;
    const { tally } = upstreams.get(table.upstream(client))!.counters;
    const isDoomed = table.has(client, DOOMED);
    table.clear(client, SHAKING | DOOMED);
    const terminated = this.#terminator.take(client, frontends.get(table.frontend(client))?.plan.tls ?? null);
    if ('codec' in terminated) this.#relay.wire.attach(client, terminated.codec);
    tally.countHandshake('client', 'codec' in terminated ? terminated.codec : null);
    if (isDoomed)
      return this.#thread.end(client, {
        stage: 'handshake',
        why: this.#destroyer.doomOf(client),
        reason: null,
        reset: false,
      });
    if (!('codec' in terminated)) {
      const { reason, wasTold } = terminated;
      return this.#thread.end(client, {
        stage: 'handshake',
        why: reason === null ? 'client-gone' : 'handshake-failed',
        reason: reason === null ? null : { text: reason },
        reset: true,
        lingers: wasTold,
      });
    }
    if (mask & (EPOLLERR | EPOLLHUP))
      return this.#thread.end(client, { stage: 'dial', why: 'client-gone', reason: null, reset: true });
    table.set(client, READABLE | (mask & (EPOLLRDHUP | EPOLLPRI) ? READ_TO_END : 0));
    this.#waitingRoom.enter(client);
  }

  /** The thread of handshakes is gone. */
  endHandshakes(): void {
    const { table, number, fdBound } = this.#thread;
    for (const client of table.owned(number, SHAKING, fdBound)) {
      if (!table.has(client, KIND_CLIENT)) continue;
      table.clear(client, SHAKING);
      this.#thread.end(client, { stage: 'handshake', why: 'crash', reason: null, reset: true });
    }
  }
}
