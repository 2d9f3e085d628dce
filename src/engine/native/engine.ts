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
import { SystemError } from '../../sys/system-error.ts';
import { errorCode, errorMessage, GraceError } from '../../error.ts';
import { EndpointError } from '../../endpoint/error.ts';
import { hasTls } from '../../endpoint/inner.ts';
import type { ClientEndpoint, DirectClient, SslClient, TlsClient } from '../../endpoint/model.ts';
import { readId, writeId } from '../connection-ids.ts';
import type { Engine, EngineName, FrontendOptions, OpenConnection, ProbeOptions, Upstream } from '../engine.ts';
import { HELLO_TIMEOUT_MS, REFUSALS } from '../policy.ts';
import { Names } from '../lookup.ts';
import { Services } from '../services.ts';
import { openPortableEngine } from '../portable/engine.ts';
import { NativeFrontend, ownShare, ownUpstream } from './frontend.ts';
import { FrontendOwners } from './frontend-owners.ts';
import { checkKernel } from './kernel.ts';
import { Inventory } from './inventory.ts';
import { HELD, KIND_CLIENT, KIND_OWN, KIND_SERVER } from './connection-table.ts';
import { readEnds } from './end-batch.ts';
import type { EndReport, Report, UpstreamTls } from './messages.ts';
import { NativeHolds } from './holds.ts';
import { NativeMover } from './mover.ts';
import type { ShadowOptions } from './mover.ts';
import { planUpstream } from './plan.ts';
import { describeFailure } from '../words.ts';
import { endError } from './reason.ts';
import { resolveAddresses } from './resolve.ts';
import { CLOSED_ROUTE, Route } from './route.ts';
import { HandshakeService } from './tls/service.ts';
import { UpstreamContexts } from './tls/upstream-contexts.ts';
import type { HandshakeLimits } from './tls/service.ts';
import { SETTLE_MS, Threads } from './threads.ts';
import type { ThreadsOptions } from './threads.ts';
import { admissionOf } from '../admission/admission.ts';
import { slotsOf } from '../slots.ts';
import { TicketRing } from '../ticket-ring.ts';
import type { TotalSlots } from '../total-slots.ts';
import { within } from '../../waiting.ts';
import { NativeUpstream } from './upstream.ts';

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
  /** What serves everything that is not plain. It is closed with this engine. Default: one with its defaults. */
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
  readonly #names: Names;
  readonly #services: Services;
  readonly #onFailure: ((error: Error) => void) | undefined;
  readonly #threads: Threads;
  readonly #total: TotalSlots | null;
  readonly #endTotal: (() => void) | undefined;
  readonly #upstreams = new Map<number, NativeUpstream>();
  /** Destinations among which the threads choose, by their numbers, and what each is of. */
  readonly #ways = new Map<number, { endpoint: DirectClient; lastAddresses: readonly string[]; of: number }>();
  /** Of upstreams that are over, the threads that may still report something of them. */
  readonly #leaving = new Map<number, Set<number>>();
  readonly #owners = new FrontendOwners();
  readonly mover: NativeMover;
  readonly #inventory: Inventory;
  readonly #localPorts = new LocalPorts();
  readonly #holds: NativeHolds;
  /** What ends the lookups under way, by the thread that asked and the upstream. */
  readonly #lookups = new Map<string, AbortController>();
  readonly #originals = new WeakMap<Upstream, NativeUpstream>();
  #lastId = 0;
  #hasFailed = false;
  readonly #wantsTls: boolean;
  readonly #contexts = new UpstreamContexts();
  readonly #tickets: TicketRing;
  readonly #onTlsUnusable: ((why: string) => void) | undefined;
  readonly #forHandshakes: HandshakeLimits & Pick<ThreadsOptions, 'answerTimeoutMs' | 'stopTimeoutMs' | 'startWorker'>;
  /** Started with the first frontend that needs it; null: it cannot be had. */
  #handshakes: HandshakeService | null | undefined = undefined;

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
    this.#names = names;
    this.#services = services;
    this.#onFailure = onFailure;
    this.#wantsTls = tls;
    this.#tickets = tickets;
    this.#onTlsUnusable = onTlsUnusable;
    this.#forHandshakes = { ...forThreads, handshakeTimeoutMs, handshakeLimit };
    this.#total = total;
    this.#threads = new Threads({
      ...forThreads,
      count,
      total,
      onReport: (thread, report) => this.#receive(thread, report),
      onDeath: (thread, error) => this.#loseThread(thread, error),
    });
    this.#endTotal = total?.onRoom(() => {
      if (total.isWaitedFor) this.#threads.sendToAll({ type: 'look-for-room', frontend: null });
    });
    this.#inventory = new Inventory(this.#threads);
    this.#holds = new NativeHolds(this.#threads);
    this.mover = new NativeMover({
      threads: this.#threads,
      total,
      isUsable: () => !this.#hasFailed,
      keys: () => this.#openHandshakes()?.keys ?? null,
      isTlsOpen: () => this.#handshakes !== undefined && this.#handshakes !== null,
      openShadow: (options, members) => this.#openShadow(options, members),
    });
  }

  get name(): EngineName {
    return this.#hasFailed ? 'portable' : 'native';
  }

  get threads(): number {
    return this.#threads.count;
  }

  openUpstream(endpoint: ClientEndpoint): NativeUpstream {
    const id = ++this.#lastId;
    const plan = planUpstream(endpoint, {
      ports: this.#localPorts,
      register: (direct) => {
        this.#ways.set(++this.#lastId, { endpoint: direct, lastAddresses: [], of: id });
        return this.#lastId;
      },
      openTls: (direct) => this.#openTls(direct, id),
    });
    if (plan === null) this.#contexts.close(this.#handshakes ?? null, id);
    const upstream = new NativeUpstream({
      endpoint,
      id,
      plan,
      threads: this.#threads,
      reloadTls: (reloaded) => this.#reloadTls(reloaded),
      openPortable: (original) => {
        const counterpart = this.#portable.openUpstream(endpoint);
        this.#originals.set(counterpart, original);
        return counterpart;
      },
      onOver: () => this.#forget(id),
    });
    this.#upstreams.set(id, upstream);
    return upstream;
  }

  /** What the threads need for handshakes with a destination; null where they have none. Throws EndpointError when a file is unusable. */
  #openTls(endpoint: SslClient | TlsClient, id: number): UpstreamTls | null {
    const service = this.#openHandshakes();
    if (service === null) return null;
    try {
      return this.#contexts.open(service, id, endpoint);
    } catch (error) {
      this.#contexts.close(service, id);
      if (error instanceof EndpointError) throw error;
      this.#onTlsUnusable?.(errorMessage(error));
      return null;
    }
  }

  /** The same again, of all its destinations. Throws GraceError and keeps what there was. */
  #reloadTls({ id, endpoint }: NativeUpstream): void {
    const service = this.#openHandshakes();
    if (service === null) return;
    const ways = [...this.#ways].filter(([, { of }]) => of === id);
    const all = [[id, endpoint] as const, ...ways.map(([number, way]) => [number, way.endpoint] as const)];
    const secure = all.flatMap(([number, each]) => (hasTls(each) ? [[number, each] as const] : []));
    const { opened, before } = this.#contexts.reload(service, id, new Map(secure));
    for (const [upstream, tls] of opened) this.#threads.sendToAll({ type: 'set-upstream-tls', upstream, tls });
    void this.#threads.settled().then(() => this.#contexts.drop(this.#handshakes ?? null, before));
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
      handshakes: () => this.#openHandshakes(),
      originalOf: (counterpart) => this.#originals.get(counterpart) ?? counterpart,
      register: (frontend, members) => {
        this.#owners.add(++this.#lastId, frontend, members);
        return this.#lastId;
      },
    });
    if (hold) this.#holds.setFrontend(hold, frontend);
    return frontend;
  }

  /** Whether TLS is, or would be, the threads' matter. */
  get speaksTls(): boolean {
    return this.#openHandshakes() !== null;
  }

  #openHandshakes(): HandshakeService | null {
    if (!this.#wantsTls || this.#hasFailed) return null;
    if (this.#handshakes !== undefined) return this.#handshakes;
    try {
      this.#handshakes = new HandshakeService({
        ...this.#forHandshakes,
        threads: this.#threads,
        tickets: this.#tickets,
        onFlaw: (flaw) => this.#doWithoutHandshakes(flaw),
        onDeath: (_, error) => this.#loseHandshakes(error),
      });
    } catch (error) {
      this.#doWithoutHandshakes(errorMessage(error)); // this runtime has no OpenSSL that can be called
    }
    return this.#handshakes ?? null;
  }

  /** No client has come to it yet. */
  #doWithoutHandshakes(why: string): void {
    void this.#handshakes?.close();
    this.#handshakes = null;
    this.#onTlsUnusable?.(why);
  }

  /** Clients in the middle of their handshake are lost; all others go on, and TLS is the portable engine's from now on. */
  #loseHandshakes(error: Error): void {
    this.#handshakes = null;
    this.#threads.sendToAll({ type: 'end-handshakes' });
    for (const upstream of this.#upstreams.values()) upstream.loseHandshakes();
    for (const owner of this.#owners.all) owner.loseHandshakes?.();
    this.#onTlsUnusable?.(`the thread of handshakes failed: ${error.message}`);
  }

  probe(endpoint: ClientEndpoint, options: ProbeOptions): Promise<void> {
    return this.#portable.probe(endpoint, options);
  }

  async connections(upstreams: readonly Upstream[]): Promise<OpenConnection[]> {
    const owns = upstreams.map(ownUpstream);
    const ids = owns.filter(({ isPlain }) => isPlain).map(({ id }) => id);
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
    await within(Promise.all([this.#threads.settled(), this.#handshakes?.settled()]), SETTLE_MS, { ref: false });
  }

  trimMemory(): void {
    this.#threads.sendToAll({ type: 'trim-memory' });
    this.#handshakes?.trimMemory();
  }

  async close(): Promise<void> {
    this.#endTotal?.();
    await Promise.all([this.#threads.close(), this.#portable.close()]);
    // Last, since it has clients of the threads.
    await this.#handshakes?.close();
    this.#inventory.lost();
  }

  #forget(id: number): void {
    const { alive } = this.#threads;
    this.#leaving.set(id, new Set(alive));
    for (const thread of alive) this.#threads.send(thread, { type: 'forget-upstream', upstream: id });
    if (alive.length === 0) this.#forgotten(null, id);
  }

  /** A thread, or none, has reported all that there is of an upstream. Who hears of the ends of connections asks for it until then. */
  #forgotten(thread: number | null, id: number): void {
    const waiting = this.#leaving.get(id);
    if (thread !== null) waiting?.delete(thread);
    if (!waiting || waiting.size > 0) return;
    this.#leaving.delete(id);
    this.#upstreams.delete(id);
    this.#contexts.close(this.#handshakes ?? null, id);
    for (const [way, { of }] of this.#ways) if (of === id) this.#ways.delete(way);
  }

  /** Numbers of what the engine keeps, to see that it forgets. */
  get kept(): { upstreams: number; frontends: number } {
    return { upstreams: this.#upstreams.size + this.#ways.size, frontends: this.#owners.size };
  }

  #upstream(id: number): NativeUpstream | undefined {
    return this.#upstreams.get(id);
  }

  #receive(thread: number, report: Report): void {
    switch (report.type) {
      case 'resolve':
        return void this.#resolve(thread, report.upstream);
      case 'resolve-no-more':
        return this.#lookups.get(`${thread} ${report.upstream}`)?.abort();
      case 'ended':
        for (const end of report.ends) this.#reportEnd(end);
        return;
      case 'ended-quietly':
        // Who hears of the ends of an upstream is told of each at once, and not of those from before.
        return readEnds(report.ends, {
          upstreamOf: (id) => this.#upstream(id),
          hear: (frontend, end) => this.#owners.get(frontend)?.observer.connectionEnded?.(end),
        });
      case 'drained':
        return this.#upstream(report.upstream)?.lookAgain();
      case 'upstream-forgotten':
        return this.#forgotten(thread, report.upstream);
      case 'room':
        return this.#owners.get(report.frontend)?.slots?.notify();
      case 'room-in-total':
        return this.#total?.notify();
      case 'total-full':
        return this.#total?.notifyFull();
      case 'held-full':
        return this.#holds.get(report.hold)?.notifyFull();
      case 'held-room':
        return this.#holds.get(report.hold)?.notify();
      case 'surrendered':
        return this.#holds.surrendered(report.hold, report.clients);
      case 'paused': {
        const error = new SystemError(report.errno, 'accept');
        return this.#owners.get(report.frontend)?.observer.acceptPaused?.({ error, retryInMs: report.retryInMs });
      }
      case 'resumed':
        return this.#owners.get(report.frontend)?.observer.acceptResumed?.();
      case 'frontend-closed':
        return this.#owners.get(report.frontend)?.closedIn?.(thread, report.frontend);
      case 'frontend-forgotten':
        return this.#owners.forgotten(thread, report.frontend);
      case 'frozen':
        return this.mover.frozen(thread, report.upstream, report);
      case 'listed':
      case 'closed-connections':
        return this.#inventory.answered(report);
      case 'answered':
        return; // the threads' own
    }
  }

  #openShadow(
    { observer, idleMs, lifetimeMs, bufferBytes, slots, admission, hold }: ShadowOptions,
    members: readonly number[],
  ): number {
    const id = ++this.#lastId;
    this.#owners.add(id, { observer, slots, admission, hold }, members);
    const route = Route.open({ upstream: CLOSED_ROUTE }, { threads: 0 });
    const reportsOrderly = observer.connectionEnded !== undefined && (observer.wantsOrderlyEnds ?? true);
    for (const thread of members)
      this.#threads.send(thread, {
        type: 'open-frontend',
        plan: {
          id,
          fd: -1,
          isUnix: false,
          route: route.memory,
          slots: slots?.plan ?? null,
          admission: admission?.plan ?? null,
          hold: hold && { id: this.#holds.idOf(hold), memory: hold.memory },
          idleMs,
          lifetimeMs,
          bufferBytes,
          helloMs: HELLO_TIMEOUT_MS,
          reportsOrderly,
          header: null,
          tls: null,
        },
      });
    return id;
  }

  async #resolve(thread: number, id: number): Promise<void> {
    const upstream = this.#upstream(id) ?? this.#ways.get(id);
    const endpoint = upstream?.endpoint;
    if (!upstream || endpoint === undefined || endpoint.type === 'sni' || endpoint.type === 'unix') return;
    const key = `${thread} ${id}`;
    const lookup = new AbortController();
    this.#lookups.set(key, lookup);
    try {
      const { names, ...answer } = await resolveAddresses(endpoint, {
        names: this.#names,
        services: this.#services,
        signal: lookup.signal,
      });
      upstream.lastAddresses = names;
      this.#threads.send(thread, { type: 'resolved', upstream: id, ...answer, failure: null });
    } catch (error) {
      if (lookup.signal.aborted) return;
      const failure = { text: describeFailure(error), isPassing: REFUSALS.includes(errorCode(error) ?? '') };
      this.#threads.send(thread, { type: 'resolved', upstream: id, addresses: [], targets: null, freshMs: 0, failure });
    } finally {
      if (this.#lookups.get(key) === lookup) this.#lookups.delete(key);
    }
  }

  #reportEnd(end: EndReport): void {
    const upstream = this.#upstream(end.upstream);
    if (!upstream) return;
    const { upstream: _, frontend, reason: __, why, way, ...told } = end;
    const { endpoint, lastAddresses } = (way === undefined ? undefined : this.#ways.get(way)) ?? upstream;
    const error = endError(end, endpoint, lastAddresses);
    const event = { ...told, upstream, error, reason: why };
    upstream.connectionEnded(event);
    const observer = this.#owners.get(frontend)?.observer;
    if (error !== null || observer?.wantsOrderlyEnds !== false) observer?.connectionEnded?.(event);
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
    for (const upstream of this.#upstreams.values()) upstream.forgetThread(thread);
    for (const id of this.#leaving.keys()) this.#forgotten(thread, id);
    for (const owner of this.#owners.lost(thread)) owner.loseThread?.(thread);
    if (isFirst) this.#onFailure?.(error);
  }
}
