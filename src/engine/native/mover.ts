/** Connections of the threads on their way to another process, or from one. */
import { GraceError } from '../../error.ts';
import { closeFd } from '../../sys/descriptor.ts';
import { peerCredentials, setResetOnClose } from '../../sys/socket.ts';
import { wordsOfPeer } from '../admission/address-key.ts';
import type { ClientAddress } from '../admission/admission.ts';
import type { MovedConnection, MovedLeg } from '../transfer.ts';
import type { AdoptOptions, Mover, Upstream } from '../engine.ts';
import { NativeFrontend } from './frontend.ts';
import { FROZEN, KIND_CLIENT, KIND_SERVER } from './connection-table.ts';
import type { Report } from './messages.ts';
import type { ShadowOptions } from './shadow-frontend.ts';
import type { TotalSlots } from '../total-slots.ts';
import type { Threads } from './threads.ts';
import type { KeyTable } from './tls/key-table.ts';
import { MOVED_TLS_FORMAT } from './tls/snapshot.ts';
import { within } from '../../waiting.ts';
import { SETTLE_MS } from './threads.ts';
import { NativeUpstream } from './upstream.ts';

/** What moving needs of the engine. */
export type NativeMoverOptions = {
  threads: Threads;
  /** The places of all connections; null: no limit. */
  total: TotalSlots | null;
  isUsable: () => boolean;
  /** Keys of TLS legs; null: this engine takes none. */
  keys: () => KeyTable | null;
  /** Whether there may be connections with TLS: asking for the keys makes a table of them. */
  isTlsOpen: () => boolean;
  /** Make known in these threads what stands for a frontend that is no more; returns its number. */
  openShadow: (options: ShadowOptions, threads: readonly number[]) => number;
};

type Frozen = Pick<Extract<Report, { type: 'frozen' }>, 'connections' | 'shaking'>;

/** Freezes and adopts connections of the threads, and knows for each whose it is meanwhile. */
export class NativeMover implements Mover {
  readonly #options: NativeMoverOptions;
  /** Frozen connections, with the thread they are of; null: it died, and their descriptors are the main thread's. */
  readonly #frozen = new Map<MovedConnection, number | null>();
  /** Called with what a thread has frozen. */
  #waiting: { thread: number; upstream: number; done: (frozen: Frozen) => void }[] = [];
  /** Clients that were in their handshake when connections of an upstream were last frozen. */
  readonly #shaking = new WeakMap<Upstream, number>();
  #next = 0;

  constructor(options: NativeMoverOptions) {
    this.#options = options;
  }

  get canAdopt(): boolean {
    const { threads, isUsable } = this.#options;
    return isUsable() && threads.alive.length > 0;
  }

  get tlsFormat(): number | null {
    return this.#options.isTlsOpen() ? MOVED_TLS_FORMAT : null;
  }

  canAdoptTls(format: number): boolean {
    return format === MOVED_TLS_FORMAT && this.canAdopt && this.#options.keys() !== null;
  }

  handshakes(upstream: Upstream): number {
    return this.#shaking.get(upstream) ?? 0;
  }

  unmovable(upstream: Upstream): number {
    if (!(upstream instanceof NativeUpstream)) return 0;
    return upstream.portables.reduce((sum, portable) => sum + portable.stats().connections, 0);
  }

  async freeze(upstream: Upstream, limit: number, { tls = true }: { tls?: boolean } = {}): Promise<MovedConnection[]> {
    if (!(upstream instanceof NativeUpstream) || !upstream.isInThreads) return [];
    const frozen: MovedConnection[] = [];
    let allShaking = 0;
    for (const thread of this.#options.threads.alive) {
      if (frozen.length >= limit || upstream.connectionsOf(thread) === 0) continue;
      const { connections, shaking } = await new Promise<Frozen>((done) => {
        this.#waiting.push({ thread, upstream: upstream.id, done });
        this.#options.threads.send(thread, {
          type: 'freeze',
          upstream: upstream.id,
          limit: limit - frozen.length,
          tls,
        });
      });
      frozen.push(...connections);
      allShaking += shaking;
    }
    this.#shaking.set(upstream, allShaking);
    return frozen;
  }

  /** A thread has frozen connections of an upstream. */
  frozen(thread: number, upstream: number, frozen: Frozen): void {
    const { connections } = frozen;
    for (const connection of connections) {
      this.#frozen.set(connection, thread);
      // They are shared memory, and stay where they are until they are written down.
      for (const { fd, tls } of legsOf(connection)) if (tls) tls.keys = this.#options.keys()!.row(fd);
    }
    const index = this.#waiting.findIndex((each) => each.thread === thread && each.upstream === upstream);
    if (index !== -1) this.#waiting.splice(index, 1)[0]?.done(frozen);
  }

  /**
   * A thread is gone, and what it had open is about to be closed. Not so what it has frozen: it may be
   * on its way to another process at this moment, and a descriptor that was closed may be another's.
   */
  lost(thread: number): void {
    const { table } = this.#options.threads;
    for (const [connection, owner] of this.#frozen) {
      if (owner !== thread) continue;
      this.#frozen.set(connection, null);
      for (const { fd } of legsOf(connection)) table.close(fd);
    }
    const waiting = this.#waiting.filter((each) => each.thread === thread);
    this.#waiting = this.#waiting.filter((each) => each.thread !== thread);
    for (const { done } of waiting) done({ connections: [], shaking: 0 });
  }

  thaw(connections: readonly MovedConnection[]): void {
    for (const [thread, own] of this.#take(connections)) {
      if (thread !== null) this.#options.threads.send(thread, { type: 'thaw', clients: clientsOf(own) });
      // Nobody is left to go on with them.
      else for (const { fd } of own.flatMap(legsOf)) closeWithReset(fd);
    }
  }

  release(connections: readonly MovedConnection[]): void {
    for (const [thread, own] of this.#take(connections)) {
      if (thread !== null) this.#options.threads.send(thread, { type: 'release', clients: clientsOf(own) });
      else for (const { fd } of own.flatMap(legsOf)) closeFd(fd);
    }
  }

  /** What this mover has frozen, by thread; it is frozen no longer. */
  #take(connections: readonly MovedConnection[]): Map<number | null, MovedConnection[]> {
    const taken = new Map<number | null, MovedConnection[]>();
    for (const connection of connections) {
      const thread = this.#frozen.get(connection);
      if (thread === undefined) throw new TypeError('this connection was frozen by another engine');
      this.#frozen.delete(connection);
      const known = taken.get(thread);
      if (known) known.push(connection);
      else taken.set(thread, [connection]);
    }
    return taken;
  }

  adopt(
    connections: readonly MovedConnection[],
    {
      upstream,
      frontend,
      observer,
      idleMs,
      lifetimeMs = null,
      bufferBytes = null,
      slots = null,
      admission = null,
      hold = null,
    }: AdoptOptions,
  ): void {
    const { threads, openShadow } = this.#options;
    const alive = threads.alive;
    if (!(upstream instanceof NativeUpstream) || !upstream.isInThreads || !this.canAdopt) {
      throw new GraceError('connections of threads cannot be taken over by the portable engine');
    }
    if (connections.flatMap(legsOf).some(({ fd }) => !threads.table.fits(fd)))
      throw new GraceError('descriptors of these connections are beyond what the threads can count');
    const speaksTls = connections.flatMap(legsOf).some(({ tls }) => tls);
    const keys = speaksTls ? this.#options.keys() : null;
    if (speaksTls && !connections.flatMap(legsOf).every(({ fd }) => keys?.fits(fd)))
      throw new GraceError('connections with TLS cannot be taken over here');
    const own = frontend instanceof NativeFrontend ? frontend : null;
    const members = own?.isInOneThread ? alive.slice(0, 1) : alive;
    const all = members.map((thread, index) => ({
      thread,
      share: connections.filter((_, at) => (at + this.#next) % members.length === index),
    }));
    const shares = all.filter(({ share }) => share.length > 0);
    this.#next++;
    const idOfOwn = own?.idInThreads ?? null;
    const id =
      idOfOwn ??
      openShadow(
        { observer, idleMs, lifetimeMs, bufferBytes, slots, admission, hold },
        shares.map(({ thread }) => thread),
      );
    // Now, and not when a thread hears of them: nobody is to be accepted in their places.
    slots?.take(connections.length);
    this.#options.total?.take(connections.length);
    if (admission?.isCounting)
      for (const { client, peer, headerLeftMs } of connections)
        // Whose header has not come is nobody yet.
        if (headerLeftMs === undefined) admission.add(movedAddress(client.fd, peer));
    for (const { thread, share } of shares) {
      upstream.countAdopted(thread, share.length);
      // From here on they are closed with what the thread has, should it die before it hears of them.
      for (const { client, server } of share) {
        threads.table.open(client.fd, thread, KIND_CLIENT | FROZEN);
        threads.table.assign(client.fd, upstream.id, id);
        if (server !== null) threads.table.open(server.fd, thread, KIND_SERVER | FROZEN);
      }
      for (const { fd, tls } of share.flatMap(legsOf)) {
        if (!tls?.keys) continue;
        keys!.row(fd).set(tls.keys);
        tls.keys.fill(0);
        delete tls.keys;
      }
      const command = { type: 'adopt', upstream: upstream.id, frontend: id, connections: share } as const;
      threads.send(thread, { ...command, keys: keys?.memory ?? null });
      // It was opened for these alone, and goes with the last of them.
      if (idOfOwn === null) threads.send(thread, { type: 'close-frontend', frontend: id });
    }
  }

  settled(): Promise<void> {
    return within(this.#options.threads.settled(), SETTLE_MS, { ref: false });
  }
}

/** Who came in, where a connection comes from another process. */
function movedAddress(fd: number, peer: string): ClientAddress {
  const words = wordsOfPeer(peer);
  return words === null ? { words, user: peerCredentials(fd).uid } : { words };
}

function legsOf({ client, server }: MovedConnection): MovedLeg[] {
  return server === null ? [client] : [client, server];
}

function clientsOf(connections: readonly MovedConnection[]): number[] {
  return connections.map(({ client }) => client.fd);
}

function closeWithReset(fd: number): void {
  setResetOnClose(fd);
  closeFd(fd);
}
