import type { ChildProcess } from 'node:child_process';
import { badArgument, checkOptions } from './argument.ts';
import { takeForeign } from './foreign.ts';
import { LISTEN_FDS_START, takeInherited } from './inherit.ts';
import type { Environment, Inherited } from './inherit.ts';
import { originalInvocation, ownArguments } from './invocation.ts';
import type { Invocation } from './invocation.ts';
import type { Listener, ListenerAddress } from './listener.ts';
import { checkSpec, openAmong } from './open.ts';
import { PortHolders } from './port-holder.ts';
import type { ListenSpec, TcpSpec, UnixSpec } from './open.ts';
import { takeParent } from './parent.ts';
import type { Parent } from './parent.ts';
import { startProgram } from './start-program.ts';
import type { ProcessOptions } from './start-program.ts';
import { hasSocketPath, removeSocketPath, takeOverSocketPath } from './unix-path.ts';

/** No less than the usual cap of the system (net.core.somaxconn), which applies anyhow. */
const DEFAULT_BACKLOG = 4096;

/** For tests and for those who have read the environment themselves; a program needs none. */
export type NetOptions = {
  /** Where LISTEN_FDS and its companions are read and removed. Default: the process's own. */
  env?: Environment;
  /** What was inherited, if the caller has taken it already; from then on it is this object's. */
  inherited?: Inherited;
};

/** How a listener is handed on. */
export type ListenOptions = {
  /** Name to hand it on under; see {@link Listener}. Default: made of the address that was asked for. */
  name?: string | undefined;
};

/** With so many listeners in use those that are over are dropped for the first time. */
const firstSweep = 64;

/**
 * Listeners that are inherited or opened, and passed to a successor. Make one when the program
 * starts: that is when the inherited sockets are taken.
 */
export class Net {
  readonly #invocation: Invocation;
  readonly #env: Environment;
  /** Inherited and not yet asked for. */
  readonly #waiting: Listener[];
  /** In use, and those that were closed and left their files. */
  #active: Listener[] = [];
  /** With so many of them, those that are over are dropped. */
  #sweepAt = firstSweep;
  readonly #inherited: ReadonlySet<Listener>;
  /** Those that an init system opened, for this process or for a predecessor. */
  readonly #foreign: ReadonlySet<Listener>;
  readonly #holders = new PortHolders();
  /** What the last successor was given; null before there was one. */
  #passedOn: ReadonlySet<Listener> | null = null;
  /** The process that started this one as its successor; null when anybody else did. */
  readonly parent: Parent | null;
  /** Descriptors that were passed and are not listeners; the caller's. */
  readonly extras: Inherited['others'];

  /** @throws GraceError when what was inherited is not what the environment says. */
  constructor(options: NetOptions = {}) {
    checkOptions('new Net', options);
    const { env = process.env, inherited } = options;
    checkOptions('new Net: env', env);
    this.#env = env;
    this.#invocation = originalInvocation(env);
    this.parent = takeParent(env);
    const foreign = takeForeign(env);
    const { listeners, others } = inherited ?? takeInherited(env);
    this.#waiting = [...listeners];
    this.#inherited = new Set(listeners);
    this.#foreign = new Set(
      listeners.filter(({ fd }) => this.parent === null || foreign.includes(fd - LISTEN_FDS_START)),
    );
    this.extras = others;
  }

  /**
   * The inherited socket with this address, else a new one. Wildcards (`''`, `0.0.0.0`, `::`) compare
   * equal; the port must be the same; port 0 matches the socket that was opened for the same request
   * by a predecessor. The caller closes the listener.
   *
   * @throws GraceError when it cannot listen.
   */
  async listen(spec: ListenSpec, options: ListenOptions = {}): Promise<Listener> {
    checkSpec('Net.listen', spec);
    const { name = defaultName(spec) } = options;
    const index = this.#waiting.findIndex((listener) => isFor(listener, spec, name));
    const [inherited] = index === -1 ? [] : this.#waiting.splice(index, 1);
    const listener = inherited ?? (await openAmong(this.#holders, spec, { name }));
    this.#use(listener);
    return listener;
  }

  /** {@link listen} on TCP. `host` absent or empty: every IPv4 address. */
  async listenTCP(
    options: Omit<TcpSpec, 'kind' | 'backlog' | 'host'> & { host?: string; backlog?: number } & ListenOptions,
  ): Promise<Listener> {
    checkOptions('Net.listenTCP', options);
    const { name, host = '', backlog = DEFAULT_BACKLOG, ...rest } = options;
    return this.listen({ ...rest, kind: 'tcp', host, backlog }, { name });
  }

  /** {@link listen} on a Unix socket; mode 0o666 by default, as an ordinary umask does not apply. */
  async listenUnix(
    options: Omit<UnixSpec, 'kind' | 'backlog' | 'mode'> & { backlog?: number; mode?: number } & ListenOptions,
  ): Promise<Listener> {
    checkOptions('Net.listenUnix', options);
    const { name, backlog = DEFAULT_BACKLOG, mode = 0o666, ...rest } = options;
    return this.listen({ ...rest, kind: 'unix', backlog, mode }, { name });
  }

  /** Take an inherited listener by what only the caller knows of it, or null. It counts as active from then on. */
  takeInherited(matches: (listener: Listener) => boolean): Listener | null {
    const index = this.#waiting.findIndex(matches);
    const [listener] = index === -1 ? [] : this.#waiting.splice(index, 1);
    if (listener === undefined) return null;
    this.#use(listener);
    return listener;
  }

  /** Have a listener that was made elsewhere handed on with the others. */
  add(listener: Listener): void {
    this.#use(listener);
  }

  #use(listener: Listener): void {
    // Now and then: there may be thousands.
    if (this.#active.length >= this.#sweepAt) {
      this.#active = this.#active.filter((other) => other.isOpen || hasSocketPath(other));
      this.#sweepAt = Math.max(firstSweep, 2 * this.#active.length);
    }
    this.#active.push(listener);
  }

  /** Inherited listeners that nobody has asked for yet, in the order of their descriptors. */
  waitingListeners(): readonly Listener[] {
    return this.#waiting;
  }

  /** Listeners that are in use and open: what a successor gets. */
  activeListeners(): Listener[] {
    return this.#active.filter((listener) => listener.isOpen);
  }

  /**
   * Close what was inherited and never asked for, so that its clients are refused instead of waiting for
   * ever. Returns what it closed. Call it when every listener of the program has been asked for and served:
   * then `removePaths` also removes the files of Unix sockets among them that are not an init system's.
   */
  closeUnused({ removePaths = false }: { removePaths?: boolean } = {}): Listener[] {
    const unused = this.#waiting.splice(0);
    for (const listener of unused) {
      if (removePaths && !this.#foreign.has(listener)) removeSocketPath(listener);
      listener.close();
    }
    return unused;
  }

  /**
   * Say that this process serves its listeners now: the locks beside Unix paths name it. To be called by a
   * successor when it serves, and by a predecessor whose successor failed after that.
   */
  claimPaths(): void {
    for (const listener of this.activeListeners()) takeOverSocketPath(listener, this.parent?.pid);
  }

  /**
   * Close every listener and remove the files of Unix sockets: `service` for the last process of the
   * service, every one that is not an init system's; `process` for a start that failed, those that this
   * process opened; `none` for a process whose successor serves: then only those that it was not given,
   * because they had been closed before.
   */
  close(options: { removePaths: 'service' | 'process' | 'none' }): void {
    checkOptions('Net.close', options);
    const { removePaths } = options;
    if (!['service', 'process', 'none'].includes(removePaths))
      throw badArgument('Net.close: removePaths', '"service", "process" or "none"', removePaths);
    this.closeUnused({ removePaths: removePaths === 'service' });
    for (const listener of this.#active.splice(0)) {
      // One that its user has closed is included: its file is of no use to anybody.
      if (!this.#isPathKept(listener, removePaths)) removeSocketPath(listener);
      listener.close();
    }
  }

  #isPathKept(listener: Listener, removePaths: 'service' | 'process' | 'none'): boolean {
    switch (removePaths) {
      case 'service':
        return this.#foreign.has(listener);
      case 'process':
        return this.#inherited.has(listener);
      case 'none':
        // Without a successor there is nobody who was given less than all.
        return this.#foreign.has(listener) || (this.#passedOn?.has(listener) ?? true);
    }
  }

  /**
   * Start a successor: the same program with the same arguments, environment and directory unless told
   * otherwise, from the original path, so that a replaced file or a moved link is honoured. It inherits
   * the listeners as descriptors 3, 4, … (LISTEN_FDS, LISTEN_FDNAMES), and no other descriptor of ours.
   * LISTEN_PID is left out: its process id is not known before it runs.
   *
   * Resolves when the program runs, which does not say that it serves. The child is reaped by the runtime.
   * Call it when you are asked to restart, never on the way of every start: the successor would do the same.
   *
   * @throws GraceError when it cannot be started.
   */
  async startProcess(options: ProcessOptions = {}): Promise<ChildProcess> {
    checkOptions('Net.startProcess', options);
    const {
      file = this.#invocation.file,
      args = [...this.#invocation.args, ...ownArguments()],
      cwd = this.#invocation.cwd,
      listeners = this.activeListeners(),
      env = this.#env,
    } = options;
    const isForeign = (listener: Listener): boolean => this.#foreign.has(listener);
    const child = await startProgram({ ...options, file, args, cwd, listeners, env }, { isForeign });
    this.#passedOn = new Set(listeners);
    return child;
  }
}

function isFor({ address, name }: Listener, spec: ListenSpec, wantedName: string): boolean {
  if (spec.kind === 'unix') return address.family === 'unix' && address.path === spec.path;
  if (address.family === 'unix') return false;
  return spec.port === 0 ? name === wantedName : address.port === spec.port && hostKey(address) === hostKey(spec);
}

function hostKey({ host }: { host: string } | Exclude<ListenerAddress, { family: 'unix' }>): string {
  return ['', '0.0.0.0', '::'].includes(host) ? '*' : host.toLowerCase();
}

/** The address as it was asked for, in the characters that LISTEN_FDNAMES can carry. */
function defaultName(spec: ListenSpec): string {
  const text = spec.kind === 'unix' ? spec.path : `${spec.host}/${spec.port}`;
  return text.replace(/[^\x20-\x39\x3b-\x7e]/g, '_').slice(-255);
}
