/** The listeners of the daemon: opened for rules, or inherited from init by its first generation. */
import { lockName } from '../handover/descriptors.ts';
import type { Handover } from '../handover/messages.ts';
import { takeAll, bareListeners } from './found.ts';
import { alreadyUsed, chooseSocket, isMeant } from './inherited-sockets.ts';
import type { InheritedSocket } from './inherited-sockets.ts';
import { listenerName } from './name.ts';
import { openNew } from './open-new.ts';
import { plain, isPortChosen, listenSpec, userTimeoutOf } from './spec.ts';
import { StoredSockets } from './stored-sockets.ts';
import { UnusedSockets } from './unused-sockets.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { GraceError } from '../../error.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { channelName, storeNames } from '../../keeper/messages.ts';
import { LISTEN_FDS_START } from '../../net/inherit.ts';
import type { Environment } from '../../net/inherit.ts';
import { adoptFd } from '../../net/listener.ts';
import type { Listener } from '../../net/listener.ts';
import { Net } from '../../net/net.ts';
import type { ListenSpec } from '../../net/open.ts';
import { removeSocketPath, setSocketMode, whyPathIsLost } from '../../net/unix-path.ts';
import { closeFd } from '../../sys/descriptor.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import { listenSocket, setUserTimeout, shutListener } from '../../sys/socket.ts';

/** Every listener of this daemon, by what it was opened for; a supervisor has copies of them. */
export class Listeners {
  readonly net: Net;
  /** Every inherited socket, whether a rule uses it or not; they are handed on as long as the daemon lives. */
  readonly inherited: InheritedSocket[];
  /** What an earlier daemon left for this one. */
  readonly stored: StoredSockets;
  readonly turnedAway = new UnusedSockets();
  /** What a predecessor passed, by its place. */
  readonly #passed: ReadonlyMap<number, Listener>;
  readonly #inodes: readonly number[] | undefined;
  readonly #supervisor: Supervisor;
  /** The stored rules have their sockets. */
  #isSettled = false;
  #isLeaving = false;
  #isAbandoned = false;
  /** Descriptors that whoever started this process left open for it, besides LISTEN_FDS: what `fd:` may name. */
  readonly #bare: ReadonlySet<number>;
  /** What each listener was opened for, as it was typed. */
  readonly #sources = new Map<Listener, string>();
  /** Port that a source with `port 0` had before, by the source's key. */
  readonly #chosenPorts = new Map<string, number>();

  constructor({ env, handover, supervisor }: { env: Environment; handover: Handover | null; supervisor: Supervisor }) {
    this.net = new Net({ env });
    this.#supervisor = supervisor;
    const listeners = takeAll(this.net);
    // The supervisor has copies of its own.
    for (const { fd, name } of this.net.extras) if (name === channelName) closeFd(fd);
    // Now, before this process opens any of its own.
    this.#bare = handover ? new Set() : bareListeners(listeners);
    this.#passed = new Map(handover ? listeners.map((each) => [each.fd - LISTEN_FDS_START, each]) : []);
    this.#inodes = handover?.inodes?.listeners;
    this.stored = new StoredSockets(supervisor);
    this.inherited = handover
      ? handover.sockets.map(({ listener, fd, index, name }) => ({ listener: this.#at(listener), fd, index, name }))
      : this.stored.take({ listeners, others: this.net.extras, env });
    for (const socket of this.inherited)
      supervisor.store(storeNames.inherited(socket), socket.listener.fd, { isStored: true });
  }

  /** Close what was stored for rules that there are no more. To be called when all rules have been served that can be. */
  dropUnused(): void {
    this.#isSettled = true;
    this.stored.dropRest();
  }

  /** From now on what is closed stays with the supervisor, for the next daemon. */
  leaveToSupervisor(): void {
    this.#isLeaving = true;
  }

  /** From now on what is closed stays as it is for the predecessor, whose listeners they are. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  /** The listener of a rule that was handed over. */
  handedOver(src: SourceSpec, index: number): Listener {
    const listener = this.#at(index);
    this.#remember(src, listener);
    if (!this.#isInherited(listener)) this.#supervisor.store(listenerName(src), listener.fd, { isStored: true });
    return listener;
  }

  /** Descriptor of the lock that was handed over, or that the keeper had; null without one. */
  get lockFd(): number | null {
    return this.net.extras.find(({ name }) => name === lockName)?.fd ?? this.stored.lockFd;
  }

  #at(index: number): Listener {
    const listener = this.#passed.get(index);
    const inode = this.#inodes?.[index];
    // Clients of one rule must not come to the destination of another.
    if (!listener || (inode !== undefined && listener.inode !== inode))
      throw new GraceError(`the daemon that is to be replaced did not pass listener ${index}`);
    return listener;
  }

  /** Listen as a source says. Throws GraceError when that cannot be. */
  async open(src: SourceSpec): Promise<Listener> {
    const endpoint = plain(src.endpoint);
    if (endpoint.type === 'systemd' || endpoint.type === 'fd') {
      const inherited =
        endpoint.type === 'fd'
          ? this.#inheritedFd(endpoint.fd)
          : chooseSocket(endpoint, { inherited: this.inherited, users: this.#sources, mustBeOne: this.#isSettled });
      this.turnedAway.release(inherited);
      this.#remember(src, inherited);
      return inherited;
    }
    const spec = listenSpec(endpoint);
    const stored = this.stored.takeFor(src, spec);
    const listener = stored?.listener ?? (await this.#openNew(src, spec));
    // The rule may have been changed where the daemon that had the socket could not be asked.
    if (stored && spec.kind === 'tcp' && hasLinuxCalls) setUserTimeout(listener.fd, userTimeoutOf(src));
    this.#remember(src, listener);
    this.#supervisor.store(listenerName(src), listener.fd, { isStored: stored?.isStored ?? false });
    return listener;
  }

  #openNew(src: SourceSpec, spec: ListenSpec): Promise<Listener> {
    return openNew(src, {
      net: this.net,
      spec,
      preferredPort: this.#chosenPorts.get(src.key),
      users: this.#sources,
    });
  }

  /** Nobody listens there any more. An inherited socket stays, for a later rule. */
  close(src: SourceSpec, listener: Listener): void {
    this.#sources.delete(listener);
    if (this.#isInherited(listener)) return this.#isLeaving ? undefined : this.turnedAway.takeBack(listener);
    if (!this.#isLeaving && !this.#isAbandoned) {
      this.#supervisor.forget(listenerName(src));
      removeSocketPath(listener);
      refuse(listener);
    }
    listener.close();
  }

  /** The rule has another in its place, which is stored under the same name. */
  discard(listener: Listener): void {
    this.#sources.delete(listener);
    refuse(listener);
    listener.close();
  }

  /** Why clients cannot find a listener any more, or null. An inherited one is for whoever opened it to look after. */
  whyLost(listener: Listener): string | null {
    return this.#isInherited(listener) ? null : whyPathIsLost(listener);
  }

  /** A listener goes on under another description. Throws GraceError for what a socket that is open cannot change. */
  describe(listener: Listener, { from, to }: { from: SourceSpec; to: SourceSpec }): void {
    const [before, after] = [plain(from.endpoint), plain(to.endpoint)];
    if (before.type === 'unix' && after.type === 'unix') {
      if (before.lockfile !== after.lockfile)
        throw new GraceError(`lockfile of ${from.typed} cannot change while it listens`, {
          hint: `first: grace stop ${from.typed}`,
        });
      if (before.mode !== after.mode && !after.address.startsWith('\0'))
        setSocketMode(after.address, Number.parseInt(after.mode, 8));
    }
    if ('backlog' in before && 'backlog' in after && before.backlog !== after.backlog) {
      listener.backlog = after.backlog;
      listenSocket(listener.fd, after.backlog);
    }
    if (userTimeoutOf(from) !== userTimeoutOf(to)) setUserTimeout(listener.fd, userTimeoutOf(to));
    this.#sources.set(listener, to.typed);
    if (this.#isInherited(listener)) return;
    this.#supervisor.store(listenerName(to), listener.fd, { isStored: false });
    this.#supervisor.forget(listenerName(from));
  }

  #isInherited(listener: Listener): boolean {
    return this.inherited.some((socket) => socket.listener === listener);
  }

  /** The port that the system chose for a source with `port 0`; undefined for any other. */
  chosenPort({ key, endpoint }: SourceSpec): number | undefined {
    return isPortChosen(endpoint) ? this.#chosenPorts.get(key) : undefined;
  }

  /** Use this port for a source with `port 0`, if it is free. */
  prefer({ key }: SourceSpec, port: number | undefined): void {
    if (port !== undefined) this.#chosenPorts.set(key, port);
  }

  #remember({ key, typed, endpoint }: SourceSpec, listener: Listener): void {
    const { address } = listener;
    this.#sources.set(listener, typed);
    if (isPortChosen(endpoint) && address.family !== 'unix') this.#chosenPorts.set(key, address.port);
  }

  /** Sockets of the protocol that no rule uses; one that could not be served yet counts. */
  unused(waiting: readonly SourceSpec[]): InheritedSocket[] {
    const endpoints = waiting.map(({ endpoint }) => plain(endpoint));
    const isAwaited = (socket: InheritedSocket) =>
      endpoints.some((endpoint) => endpoint.type === 'systemd' && isMeant(endpoint, socket));
    return this.inherited.filter(
      (socket) => socket.index !== null && !this.#sources.has(socket.listener) && !isAwaited(socket),
    );
  }

  #inheritedFd(fd: number): Listener {
    const known = this.inherited.find((socket) => socket.fd === fd);
    if (known && this.#sources.has(known.listener))
      throw alreadyUsed(`descriptor ${fd}`, this.#sources.get(known.listener));
    if (known) return known.listener;
    if (!this.#bare.has(fd))
      throw new GraceError(`descriptor ${fd} is no listening socket that the daemon was started with`, {
        hint: 'pass it to: grace daemon',
      });
    const listener = adoptFd(fd, { name: `fd-${fd}` });
    this.inherited.push({ listener, fd, index: null, name: listener.name });
    return listener;
  }
}

/** The supervisor's copy alone would have clients wait for nobody, until it has closed it; a keeper may be stopped. */
function refuse({ fd }: Listener): void {
  try {
    shutListener(fd);
  } catch {
    // ENOTCONN: it does not listen any more.
  }
}
