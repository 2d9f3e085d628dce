/** The listeners of the daemon: opened for rules, or inherited from init by its first generation. */
import type { Handover } from '../handover/messages.ts';
import { takeAll, bareListeners } from './found.ts';
import { alreadyUsed, chooseSocket, isMeant } from './inherited-sockets.ts';
import type { InheritedSocket } from './inherited-sockets.ts';
import { limitHint, mustLeaveRoom } from './limits.ts';
import { isListenerName, listenerName } from './name.ts';
import { isAt, plain, isPortChosen, listenSpec } from './spec.ts';
import { UnusedSockets } from './unused-sockets.ts';
import type { TicketSnapshot } from '../../engine/ticket-ring.ts';
import type { StoredRule } from '../state/rules-file.ts';
import { isRulesCopy, readRulesCopy } from '../state/rules-memory.ts';
import { isTicketsCopy, readTicketsCopy } from '../state/tickets-memory.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { GraceError, errorCode } from '../../error.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { channelName, storeNames, parseInherited } from '../../keeper/messages.ts';
import { takeOpened } from '../../keeper/opened.ts';
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

/** Name under which the lock of the state dir is passed to a successor. */
export const lockName = 'grace-lock';

/** Name under which a successor inherits the standard error that its predecessor logs to. */
export const consoleName = 'grace-console';

/** Name under which a successor inherits the standard output to which the access log goes. */
export const standardOutputName = 'grace-stdout';

/** Every listener of this daemon, by what it was opened for; a supervisor has copies of them. */
export class Listeners {
  readonly net: Net;
  /** Every inherited socket, whether a rule uses it or not; they are handed on as long as the daemon lives. */
  readonly inherited: InheritedSocket[];
  readonly turnedAway = new UnusedSockets();
  /** What a predecessor passed, by its place. */
  readonly #passed: ReadonlyMap<number, Listener>;
  readonly #inodes: readonly number[] | undefined;
  readonly #supervisor: Supervisor;
  /** What an earlier daemon listened on before it crashed, by name; waits for its rule. */
  #lockFd: number | null = null;
  #rulesCopy: StoredRule[] | null = null;
  #ticketsCopy: TicketSnapshot | null = null;
  readonly #stored = new Map<string, Listener>();
  /** Of these, those that the supervisor has not got. */
  readonly #unheard = new Set<string>();
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
    this.inherited = handover
      ? handover.sockets.map(({ listener, fd, index, name }) => ({ listener: this.#at(listener), fd, index, name }))
      : [];
    if (!handover) {
      for (const listener of listeners)
        this.#sort(listener, { fd: listener.fd, index: listener.fd - LISTEN_FDS_START, name: listener.name });
      this.#takeStored();
      for (const [name, fd] of takeOpened(env)) {
        this.#stored.set(name, adoptFd(fd, { name }));
        this.#unheard.add(name);
      }
      for (const { fd, name } of this.net.extras) if (isTicketsCopy(name)) this.#takeTickets(name, fd);
    }
    for (const socket of this.inherited)
      supervisor.store(storeNames.inherited(socket), socket.listener.fd, { isStored: true });
  }

  /** Of what systemd passes, some is what an earlier daemon put into its store. */
  #sort(listener: Listener, place: Omit<InheritedSocket, 'listener'>): void {
    if (isListenerName(listener.name) || listener.name === storeNames.control)
      this.#stored.set(listener.name, listener);
    else this.inherited.push({ listener, ...place });
  }

  #takeStored(): void {
    for (const [name, fd] of this.#supervisor.takeStored()) {
      if (isRulesCopy(name)) {
        this.#rulesCopy ??= readRulesCopy(fd);
        this.#supervisor.forget(name);
        continue;
      }
      if (isTicketsCopy(name)) {
        this.#takeTickets(name, fd);
        continue;
      }
      if (name === storeNames.lock) {
        this.#lockFd = fd;
        continue;
      }
      const inherited = parseInherited(name);
      const listener = adoptFd(fd, { name: inherited?.name ?? name });
      if (inherited) this.inherited.push({ listener, ...inherited });
      else this.#stored.set(name, listener);
    }
  }

  #takeTickets(name: string, fd: number): void {
    this.#ticketsCopy ??= readTicketsCopy(fd);
    this.#supervisor.forget(name);
  }

  /** The keys of session tickets that a daemon which crashed had left; null without any. */
  get ticketsCopy(): TicketSnapshot | null {
    return this.#ticketsCopy;
  }

  /** The rules that a daemon which crashed had left with the keeper; null without any. */
  get rulesCopy(): readonly StoredRule[] | null {
    return this.#rulesCopy;
  }

  /** The control socket of a daemon that crashed, whose clients wait in its queue; null without one. */
  takeControl(): Listener | null {
    const listener = this.#stored.get(storeNames.control) ?? null;
    this.#stored.delete(storeNames.control);
    return listener;
  }

  /** Close what was stored for rules that there are no more. To be called when all rules have been served that can be. */
  dropUnused(): void {
    this.#isSettled = true;
    for (const [name, listener] of this.#stored) {
      this.#supervisor.forget(name);
      removeSocketPath(listener);
      listener.close();
    }
    this.#stored.clear();
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
    return this.net.extras.find(({ name }) => name === lockName)?.fd ?? this.#lockFd;
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
    const stored = this.#takeFor(src, spec);
    const listener = stored ?? (await this.#openWithRoom(src, spec));
    // The rule may have been changed where the daemon that had the socket could not be asked.
    if (stored && spec.kind === 'tcp' && hasLinuxCalls) setUserTimeout(stored.fd, userTimeoutOf(src));
    this.#remember(src, listener);
    const name = listenerName(src);
    this.#supervisor.store(name, listener.fd, { isStored: stored?.name === name && !this.#unheard.delete(name) });
    return listener;
  }

  /** The socket that an earlier daemon had for this source: by name, or by address if that one was of a version with other names. */
  #takeFor(src: SourceSpec, spec: ListenSpec): Listener | null {
    const wanted = listenerName(src);
    const listener = this.#stored.get(wanted) ?? [...this.#stored.values()].find(({ address }) => isAt(address, spec));
    if (!listener) return null;
    this.#stored.delete(listener.name);
    if (listener.name !== wanted) this.#supervisor.forget(listener.name);
    return listener;
  }

  async #openWithRoom(src: SourceSpec, spec: ListenSpec): Promise<Listener> {
    if (userTimeoutOf(src) > 0 && !hasLinuxCalls)
      throw new GraceError(`cannot listen on ${src.typed}: userTimeout needs Linux`, { hint: 'leave it out' });
    const listener = await this.#openFor(src, spec).catch((error: unknown) => {
      throw error instanceof GraceError && error.hint === undefined
        ? new GraceError(error.message, { hint: limitHint(error.cause), cause: error.cause })
        : error;
    });
    try {
      mustLeaveRoom(listener.fd);
      if (userTimeoutOf(src) > 0) setUserTimeout(listener.fd, userTimeoutOf(src));
      return listener;
    } catch (error) {
      removeSocketPath(listener);
      listener.close();
      throw error instanceof GraceError
        ? new GraceError(`cannot listen on ${src.typed}: ${error.message}`, { hint: error.hint, cause: error })
        : error;
    }
  }

  /** Who is in the way may be another rule, which the system knows as this process. */
  #explain(error: unknown, spec: ListenSpec): unknown {
    if (!(error instanceof GraceError) || errorCode(error.cause) !== 'EADDRINUSE' || spec.kind !== 'tcp') return error;
    const [other] =
      [...this.#sources]
        .find(
          ([listener]) => listener.isOpen && listener.address.family !== 'unix' && listener.address.port === spec.port,
        )
        ?.slice(1) ?? [];
    if (other === undefined) return error;
    return new GraceError(error.message, {
      hint: `${other}`.startsWith('--')
        ? `${other} has that port`
        : `${other} is forwarded and has that port; to stop it: grace stop ${other}`,
      cause: error.cause,
    });
  }

  /** With `port 0`, the port of last time if it is free. */
  async #openFor(src: SourceSpec, spec: ListenSpec): Promise<Listener> {
    const name = listenerName(src);
    const preferred = this.#chosenPorts.get(src.key);
    if (preferred !== undefined && spec.kind === 'tcp' && spec.port === 0) {
      try {
        return await this.net.listen({ ...spec, port: preferred }, { name });
      } catch (error) {
        if (!(error instanceof GraceError)) throw error; // taken by somebody else: any port will do
      }
    }
    try {
      return await this.net.listen(spec, { name });
    } catch (error) {
      throw this.#explain(error, spec);
    }
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

/** Milliseconds in which clients must acknowledge what they are sent; 0: the system's time. */
function userTimeoutOf({ endpoint }: SourceSpec): number {
  const inner = plain(endpoint);
  return 'userTimeout' in inner ? (inner.userTimeout ?? 0) : 0;
}

/** The supervisor's copy alone would have clients wait for nobody, until it has closed it; a keeper may be stopped. */
function refuse({ fd }: Listener): void {
  try {
    shutListener(fd);
  } catch {
    // ENOTCONN: it does not listen any more.
  }
}
