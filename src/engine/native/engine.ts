/**
 * The native engine: bytes are moved by threads that each run an epoll loop over libc calls
 * (loop.ts is a thread's whole life), those of TLS too, on either side, where an endpoint asks for nothing
 * that the threads do not speak (plan.ts). All else, checks of destinations, and what those threads
 * cannot do any more is the portable engine's, which this one holds inside: each frontend and each
 * upstream has a counterpart there. Which of the two has a connection is decided when its client is
 * accepted, and never changes.
 *
 * The main thread prepares: it makes addresses of endpoints, looks names up, and turns what the
 * threads report into words. It touches no byte of a connection.
 */
import { closeFd } from '../../sys/descriptor.ts';
import { LocalPorts } from '../../sys/local-ports.ts';
import { setResetOnClose } from '../../sys/socket.ts';
import { GraceError } from '../../error.ts';
import type { ClientEndpoint } from '../../endpoint/model.ts';
import { readId, writeId } from '../connection-ids.ts';
import type { Engine, EngineName, FrontendOptions, OpenConnection, ProbeOptions, Upstream } from '../engine.ts';
import { Names } from '../lookup.ts';
import { Services } from '../services.ts';
import { openPortableEngine } from '../portable/engine.ts';
import { NativeFrontend } from './frontend.ts';
import { FrontendOwners } from './frontend-owners.ts';
import { checkKernel } from './kernel.ts';
import { Inventory } from './inventory.ts';
import { HELD, KIND_CLIENT, KIND_OWN, KIND_SERVER } from './connection-table.ts';
import { NativeHolds } from './holds.ts';
import { NativeMover } from './mover.ts';
import { planUpstream } from './plan.ts';
import { deliverReport } from './reports.ts';
import type { Hearers } from './reports.ts';
import { Resolver } from './resolve.ts';
import { openShadow } from './shadow-frontend.ts';
import { ownShare, ownUpstream } from './routing.ts';
import { EngineTls } from './tls/engine-tls.ts';
import type { HandshakeLimits } from './tls/service.ts';
import { SETTLE_MS, Threads } from './threads.ts';
import type { ThreadsOptions } from './threads.ts';
import { admissionOf } from '../admission/admission.ts';
import { slotsOf } from '../slots.ts';
import { TicketRing } from '../ticket-ring.ts';
import type { TotalSlots } from '../total-slots.ts';
import { within } from '../../waiting.ts';
import { NativeUpstream } from './upstream.ts';
import { NativeUpstreams } from './upstreams.ts';

/** What the engine runs with. */
export type NativeEngineOptions = {
  /** Threads that move bytes. Default 1. */
  threads?: number;
  /** Looks names up. Default: one of its own, which the portable engine has too. */
  names?: Names;
  /** Finds services, as `names` does names. */
  services?: Services;
  /** The places of all connections, which the portable engine has too. Default: no limit. */
  total?: TotalSlots | null;
  /** What serves all that the threads do not (plan.ts). It is closed with this engine. Default: one with its defaults. */
  portable?: Engine;
  /** Whether TLS is the threads' matter, on either side, where they can speak it (see plan.ts). Default false: the portable engine has all of it. */
  tls?: boolean;
  /** Seals the session tickets of TLS, as it does for `portable`. Default: one of its own. */
  tickets?: TicketRing;
  /** TLS is the portable engine's after all, or some of it, and why. */
  onTlsUnusable?: ((why: string) => void) | undefined;
  /** Threads failed: their connections are lost, and the portable engine accepts from now on. */
  onFailure?: ((error: Error) => void) | undefined;
} & HandshakeLimits &
  Pick<ThreadsOptions, 'answerTimeoutMs' | 'stopTimeoutMs' | 'startWorker'>;

/** Start the native engine. Throws GraceError where it cannot run. */
export function openNativeEngine(options: NativeEngineOptions = {}): NativeEngine {
  if (process.platform !== 'linux') throw new GraceError('the native engine runs on Linux only');
  checkKernel();
  return new NativeEngine(options);
}

/** The engine, in the main thread. */
export class NativeEngine implements Engine {
  readonly #portable: Engine;
  readonly #onFailure: ((error: Error) => void) | undefined;
  readonly #threads: Threads;
  readonly #total: TotalSlots | null;
  readonly #endTotal: (() => void) | undefined;
  readonly #upstreams: NativeUpstreams;
  readonly #owners = new FrontendOwners();
  readonly mover: NativeMover;
  readonly #inventory: Inventory;
  readonly #localPorts = new LocalPorts();
  readonly #holds: NativeHolds;
  readonly #originals = new WeakMap<Upstream, NativeUpstream>();
  #hasFailed = false;
  readonly #tls: EngineTls;
  /** Who hears what threads report. */
  readonly #hearers: Hearers;

  constructor({
    threads: count = 1,
    names = new Names(),
    services = new Services({ names }),
    total = null,
    tickets = new TicketRing(),
    portable = openPortableEngine({ names, services, tickets, total }),
    onFailure,
    onTlsUnusable,
    tls = false,
    handshakeTimeoutMs,
    handshakeLimit,
    ...forThreads
  }: NativeEngineOptions) {
    this.#portable = portable;
    this.#onFailure = onFailure;
    this.#total = total;
    const threads = new Threads({
      ...forThreads,
      count,
      total,
      onReport: (thread, report) => deliverReport(this.#hearers, thread, report),
      onDeath: (thread, error) => this.#loseThread(thread, error),
    });
    this.#threads = threads;
    this.#endTotal = total?.onRoom(() => {
      if (total.isWaitedFor) threads.sendToAll({ type: 'look-for-room', frontend: null });
    });
    this.#tls = new EngineTls({
      threads,
      isWanted: tls,
      isUsable: () => !this.#hasFailed,
      tickets,
      onLost: () => this.#loseHandshakes(),
      onUnusable: onTlsUnusable,
      forHandshakes: { ...forThreads, handshakeTimeoutMs, handshakeLimit },
    });
    const upstreams = new NativeUpstreams({ threads, onForgotten: (id) => this.#tls.forget(id) });
    this.#upstreams = upstreams;
    this.#inventory = new Inventory(threads);
    const holds = new NativeHolds(threads);
    this.#holds = holds;
    this.mover = new NativeMover({
      threads,
      total,
      isUsable: () => !this.#hasFailed,
      keys: () => this.#tls.open()?.keys ?? null,
      isTlsOpen: () => this.#tls.isOpen,
      openShadow: (options, members) => openShadow({ threads, owners: this.#owners, holds }, options, members),
    });
    this.#hearers = {
      upstreams,
      owners: this.#owners,
      resolver: new Resolver({ threads, upstreams, names, services }),
      total,
      holds,
      mover: this.mover,
      inventory: this.#inventory,
    };
  }

  get name(): EngineName {
    return this.#hasFailed ? 'portable' : 'native';
  }

  get threads(): number {
    return this.#threads.count;
  }

  openUpstream(endpoint: ClientEndpoint): NativeUpstream {
    const id = this.#upstreams.nextId();
    const plan = planUpstream(endpoint, {
      ports: this.#localPorts,
      register: (direct) => this.#upstreams.addWay(direct, id),
      openTls: (direct) => this.#tls.openDestination(direct, id),
    });
    if (plan === null) this.#tls.forget(id);
    const upstream = new NativeUpstream({
      endpoint,
      id,
      plan,
      threads: this.#threads,
      reloadTls: (reloaded, only) => this.#tls.reload(id, this.#upstreams.endpointsOf(reloaded), only),
      openPortable: (original) => {
        const counterpart = this.#portable.openUpstream(endpoint);
        this.#originals.set(counterpart, original);
        return counterpart;
      },
      onOver: () => this.#upstreams.forget(id),
    });
    this.#upstreams.add(upstream);
    return upstream;
  }

  openFrontend({
    listener,
    endpoint,
    upstream,
    share,
    observer,
    slots,
    admission,
    hold,
  }: FrontendOptions): NativeFrontend {
    const frontend = new NativeFrontend({
      listener,
      endpoint,
      observer,
      slots: slotsOf(endpoint, slots),
      admission: admissionOf(endpoint, admission),
      hold: hold ? { id: this.#holds.idOf(hold), state: hold } : null,
      ...(hold && { onStopped: (stopped: NativeFrontend) => this.#holds.frontendStopped(hold, stopped) }),
      upstream: ownUpstream(upstream),
      share: ownShare(share ?? null),
      threads: this.#threads,
      portable: this.#portable,
      isUsable: !this.#hasFailed,
      handshakes: () => this.#tls.open(),
      originalOf: (counterpart) => this.#originals.get(counterpart) ?? counterpart,
      register: (frontend, members) => this.#owners.add(frontend, members),
    });
    if (hold) this.#holds.setFrontend(hold, frontend);
    return frontend;
  }

  /** Whether TLS is, or would be, the threads' matter. */
  get speaksTls(): boolean {
    return this.#tls.open() !== null;
  }

  /** The thread of handshakes is gone: the portable engine has TLS from now on. */
  #loseHandshakes(): void {
    for (const upstream of this.#upstreams.all) upstream.loseHandshakes();
    for (const owner of this.#owners.all) owner.loseHandshakes?.();
  }

  probe(endpoint: ClientEndpoint, options: ProbeOptions): Promise<void> {
    return this.#portable.probe(endpoint, options);
  }

  async connections(upstreams: readonly Upstream[]): Promise<OpenConnection[]> {
    const owns = upstreams.map(ownUpstream);
    const ids = owns.filter(({ isInThreads }) => isInThreads).map(({ id }) => id);
    const [ofThreads, others] = await Promise.all([
      this.#inventory.list(ids),
      this.#portable.connections(owns.flatMap(({ portables }) => portables)),
    ]);
    const byId = new Map(owns.map((upstream) => [upstream.id, upstream]));
    return [
      ...ofThreads.map((each) => ({ ...each, id: writeId(each.id), upstream: byId.get(each.upstream)! })),
      ...others.map((each) => ({ ...each, upstream: this.#originals.get(each.upstream)! })),
    ];
  }

  async closeConnections(upstreams: readonly Upstream[], ids: readonly string[]): Promise<number> {
    const counts = await Promise.all([
      this.#inventory.close(ids.flatMap((id) => readId(id) ?? [])),
      this.#portable.closeConnections(
        upstreams.map(ownUpstream).flatMap(({ portables }) => portables),
        ids,
      ),
    ]);
    return counts[0] + counts[1];
  }

  async settled(): Promise<void> {
    await within(Promise.all([this.#threads.settled(), this.#tls.settled()]), SETTLE_MS, { ref: false });
  }

  trimMemory(): void {
    this.#threads.sendToAll({ type: 'trim-memory' });
    this.#tls.trimMemory();
  }

  async close(): Promise<void> {
    this.#endTotal?.();
    await Promise.all([this.#threads.close(), this.#portable.close()]);
    // Last, since it has clients of the threads.
    await this.#tls.close();
    this.#inventory.lost();
  }

  /** Numbers of what the engine keeps, to see that it forgets. */
  get kept(): { upstreams: number; frontends: number } {
    return { upstreams: this.#upstreams.size, frontends: this.#owners.size };
  }

  /** A thread died. What it left open is closed, so that no peer waits for it; accepting goes on without threads. */
  #loseThread(thread: number, error: Error): void {
    const isFirst = !this.#hasFailed;
    this.#hasFailed = true;
    const { table } = this.#threads;
    for (const client of table.owned(thread, KIND_CLIENT, table.capacity)) {
      const owner = this.#owners.get(table.frontend(client));
      owner?.slots?.release();
      this.#total?.release();
      if (table.has(client, HELD)) owner?.hold?.leave();
    }
    for (const { admission } of this.#owners.all) admission?.forgetOwn();
    this.mover.lost(thread);
    this.#inventory.lost(thread);
    for (const fd of table.owned(thread, KIND_CLIENT | KIND_SERVER | KIND_OWN, table.capacity)) {
      const isLeg = !table.has(fd, KIND_OWN);
      table.close(fd);
      if (isLeg) setResetOnClose(fd);
      closeFd(fd);
    }
    this.#upstreams.lost(thread);
    for (const owner of this.#owners.lost(thread)) owner.loseThread?.(thread);
    if (isFirst) this.#onFailure?.(error);
  }
}
