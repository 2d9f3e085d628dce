/** A frontend as the threads have it: under a number, from when they are told of it until none of them accepts any more. */
import { closeFd, setNonBlocking } from '../../sys/descriptor.ts';
import type { Listener } from '../../net/listener.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { ServerEndpoint, ServerExtras } from '../../endpoint/model.ts';
import type { Admission, AdmittedNetworks } from '../admission/admission.ts';
import type { EngineObserver } from '../engine.ts';
import { planHeader } from '../header-plan.ts';
import type { Hold } from '../hold.ts';
import { ConnectionCount } from './connection-count.ts';
import { orderlyEndsFor } from './frontend-owners.ts';
import { HELLO_TIMEOUT_MS } from '../policy.ts';
import type { Slots } from '../slots.ts';
import type { ThreadCommand } from './messages.ts';
import type { FrontendPlan, TlsPlan } from './thread-plans.ts';
import { Route } from './route.ts';
import type { ThreadRouting } from './route.ts';
import type { Threads } from './threads.ts';
import type { ServerContexts } from './tls/server-contexts.ts';

/** What it is made of. The caller still owns the listener. */
export type FrontendInThreadsOptions = {
  threads: Threads;
  /** Those that are to accept. */
  members: readonly number[];
  /** Make it known to the reports of these threads under a new number. */
  register: (members: readonly number[]) => number;
  listener: Listener;
  endpoint: ServerEndpoint;
  routing: ThreadRouting;
  observer: EngineObserver;
  slots: Slots | null;
  admission: Admission | null;
  hold: { id: number; state: Hold } | null;
  /** What handshakes are made with; null: clients are plain. */
  tls: ServerContexts | null;
};

/** Tells the threads what happens to one frontend. */
export class FrontendInThreads {
  readonly id: number;
  readonly #threads: Threads;
  readonly #members: readonly number[];
  /** Listeners, a descriptor for each thread: the state of one is a single thread's. */
  readonly #fds: readonly number[];
  readonly #route: Route;
  /** Threads that have not said yet that they accept no more; null until they are asked. */
  #closing: Set<number> | null = null;
  readonly #closed = Promise.withResolvers<void>();

  /** Have threads accept. Throws, and leaves nothing, when there is no descriptor for each. */
  constructor(options: FrontendInThreadsOptions) {
    const { threads, members, register, listener, routing, tls } = options;
    this.#threads = threads;
    this.#members = members;
    this.#route = Route.open(routing, { threads: threads.count });
    this.#fds = duplicate(listener, members.length);
    this.id = register(members);
    const plan = planOf(options, { id: this.id, route: this.#route, tls: tls?.enter(this.id) ?? null });
    members.forEach((thread, index) =>
      threads.send(thread, { type: 'open-frontend', plan: { ...plan, fd: this.#fds[index]! } }),
    );
  }

  /** Clients that are accepted from now on go there. */
  route(routing: ThreadRouting): void {
    this.#route.set(routing);
  }

  /** Clients from these networks may come in. */
  setNetworks(networks: AdmittedNetworks): void {
    this.#tell({ type: 'set-networks', frontend: this.id, networks });
  }

  /** Whoever serves clients of this source has one less, or one less waits. */
  lookForRoom(): void {
    this.#tell({ type: 'look-for-room', frontend: this.id });
  }

  /** Somebody else who accepted on the same socket does so no more. */
  lookInQueue(): void {
    this.#tell({ type: 'look-in-queue', frontend: this.id });
  }

  /** Other processes have so many connections of this source. */
  countElsewhere(count: number): void {
    this.#tell({ type: 'count-elsewhere', frontend: this.id, count });
  }

  /** Handshakes are made with this SSL_CTX from now on. */
  setContext(context: number): void {
    this.#tell({ type: 'set-context', frontend: this.id, context });
  }

  #tell(command: ThreadCommand): void {
    for (const thread of this.#members) this.#threads.send(thread, command);
  }

  /** Accept no more. Resolves when no thread does. */
  async close(): Promise<void> {
    const { alive } = this.#threads;
    this.#route.close();
    this.#closing = new Set(this.#members.filter((thread) => alive.includes(thread)));
    for (const thread of this.#closing) this.#threads.send(thread, { type: 'close-frontend', frontend: this.id });
    this.#resolveIfClosed();
    await this.#closed.promise;
    for (const fd of this.#fds) closeFd(fd);
  }

  /** A thread accepts no more. */
  closedIn(thread: number): void {
    this.#closing?.delete(thread);
    this.#resolveIfClosed();
  }

  /** A thread is gone. */
  loseThread(thread: number): void {
    this.#route.lower(thread);
    this.closedIn(thread);
  }

  #resolveIfClosed(): void {
    if (this.#closing?.size === 0) this.#closed.resolve();
  }
}

/** Throws, and leaves nothing, when there are too few descriptors. */
function duplicate(listener: Listener, count: number): number[] {
  const fds: number[] = [];
  try {
    for (let index = 0; index < count; index++) fds.push(listener.dup());
    for (const fd of fds) setNonBlocking(fd, true);
    return fds;
  } catch (error) {
    for (const fd of fds) closeFd(fd);
    throw error;
  }
}

function planOf(
  { listener, endpoint, observer, slots, admission, hold }: FrontendInThreadsOptions,
  { id, route, tls }: { id: number; route: Route; tls: TlsPlan | null },
): Omit<FrontendPlan, 'fd'> {
  const inner = innerEndpoint(endpoint);
  const extras: ServerExtras = inner.type === 'stdio' ? {} : inner;
  const {
    idle: idleMs = null,
    lifetime: lifetimeMs = null,
    buffer: bufferBytes = null,
    headerTimeout: helloMs = HELLO_TIMEOUT_MS,
  } = extras;
  return {
    id,
    isUnix: listener.address.family === 'unix',
    route: route.memory,
    connections: ConnectionCount.allocate(),
    slots: slots?.plan ?? null,
    admission: admission?.plan ?? null,
    hold: hold && { id: hold.id, memory: hold.state.memory },
    idleMs,
    lifetimeMs,
    bufferBytes,
    helloMs,
    reportsOrderly: orderlyEndsFor(observer),
    header: planHeader(endpoint),
    tls,
  };
}
