import type { Program } from '../../control/shapes.ts';
import { handoverVariable } from '../../control/launch.ts';
import { GraceError } from '../../error.ts';
import { Channel, closeChannelEnd, copyChannelEnd, isChannelEnd, maxFds, openChannel } from '../../keeper/channel.ts';
import type { ChannelEnd } from '../../keeper/channel.ts';
import { channelName, channelVariable, keeperFormat, runs } from '../../keeper/messages.ts';
import type { DaemonIdentity, DaemonMessage, KeeperMessage } from '../../keeper/messages.ts';
import { closeFd, dropRuntimeCopy, isOpenFd, setCloseOnExec, setNonBlocking } from '../../sys/descriptor.ts';
import { sendMessage } from '../../sys/message.ts';
import { connectSocket, openSocket } from '../../sys/socket.ts';
import { describeError } from '../../sys/system-error.ts';
import { within } from '../../waiting.ts';
import { LastKeeper } from './last-keeper.ts';
import { startKeeper } from './start-keeper.ts';
import type { Supervisor, SupervisorEvents, SupervisorOptions } from './supervisor.ts';

/** How long a keeper may take to say who it is. */
const helloTimeoutMs = 5000;

/** How long it may take to do what it was told, before the daemon goes on. */
const settleTimeoutMs = 1000;

type Link = Channel<DaemonMessage, KeeperMessage>;
type Keeper = { pid: number; version: string };

/** The daemon's side of the channel to its keeper. A keeper that dies takes nothing with it, and is replaced. */
export class KeeperSupervisor implements Supervisor {
  readonly #options: SupervisorOptions;
  /** What a keeper is to hold: this process's own descriptors by their names. */
  readonly #stored = new Map<string, number>();
  readonly #found: [string, number][] = [];
  /** Names of which the keeper is still to be told what is so: of thousands of rules, many at once. */
  readonly #untold = new Set<string>();
  readonly #pings = new Map<number, () => void>();
  #events: SupervisorEvents | null = null;
  /** What the keeper said before anybody watched. */
  readonly #notes: string[] = [];
  #link: Link | null = null;
  #keeper: Keeper | null = null;
  readonly #last = new LastKeeper();
  #reason: string | null = null;
  #heardHello = Promise.withResolvers<void>();
  #pingCount = 0;
  #isServing = false;

  private constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Without an end: the keeper of the predecessor is gone, and a new one is wanted. */
  static async join(options: SupervisorOptions, end: ChannelEnd | null): Promise<KeeperSupervisor> {
    const supervisor = new KeeperSupervisor(options);
    if (end === null) return supervisor;
    try {
      if (!isChannelEnd(end)) throw new Error('they are something else');
      for (const fd of [end.stream, end.datagrams]) {
        dropRuntimeCopy(fd);
        setCloseOnExec(fd, true);
      }
      setNonBlocking(end.datagrams, false);
      // What a successor inherits is taken by its places, which must not be empty, or somebody else's, by then.
      supervisor.#open(options.env[handoverVariable] === undefined ? end : copyChannelEnd(end)).ref();
    } catch (error) {
      throw new GraceError(
        `descriptors ${end.stream} and ${end.datagrams} are no channel to a keeper: ${describeError(error)}`,
        { cause: error },
      );
    }
    await supervisor.#hello();
    return supervisor;
  }

  get keeper(): Keeper | null {
    return this.#keeper;
  }

  get lostKeeper(): number | null {
    return this.#link?.isOpen ? null : this.#last.living;
  }

  succeed(keeper: number | null): void {
    this.#last.was(keeper);
    if (!this.#link?.isOpen) void this.#last.lost();
  }

  get reason(): string | null {
    return this.#reason;
  }

  readonly keepsOverStop = false;

  takeStored(): [name: string, fd: number][] {
    return this.#found.splice(0);
  }

  store(name: string, fd: number, { isStored = false }: { isStored?: boolean } = {}): void {
    this.#stored.set(name, fd);
    if (!isStored) this.#tellSoon(name);
  }

  forget(name: string): void {
    this.#stored.delete(name);
    this.#tellSoon(name);
  }

  #tellSoon(name: string): void {
    if (this.#untold.size === 0) setImmediate(() => this.#tell());
    this.#untold.add(name);
  }

  /** Before anything else is said to the keeper. What is so when it hears it: by then a rule may have been stopped, and its socket closed. */
  #tell(): void {
    const names = [...this.#untold];
    this.#untold.clear();
    for (let at = 0; at < names.length; at += maxFds) {
      const some = names.slice(at, at + maxFds);
      this.#link?.sendCurrent(() => {
        // A start that fails has closed its own; to send such a one would end the channel before the last word.
        const kept = some.flatMap((name) => {
          const fd = this.#stored.get(name);
          return fd !== undefined && isOpenFd(fd) ? [{ name, fd }] : [];
        });
        if (kept.length === 0) return null;
        return { message: { keep: kept.map(({ name }) => name) }, fds: kept.map(({ fd }) => fd) };
      });
      this.#link?.sendCurrent(() => {
        const forgotten = some.filter((name) => !this.#stored.has(name));
        return forgotten.length === 0 ? null : { message: { forget: forgotten }, fds: [] };
      });
    }
  }

  #say(message: DaemonMessage, fds: readonly number[] = []): void {
    this.#tell();
    this.#link?.send(message, fds);
  }

  async settled(): Promise<void> {
    if (!this.#link?.isOpen) return;
    const number = ++this.#pingCount;
    const { promise: answered, resolve } = Promise.withResolvers<void>();
    this.#pings.set(number, resolve);
    this.#say({ ping: number });
    await within(answered, settleTimeoutMs);
    this.#pings.delete(number);
  }

  async ready(): Promise<void> {
    if (!this.#link?.isOpen) return;
    this.#heardHello = Promise.withResolvers();
    this.#say({ ready: this.#identity() });
    await this.#hello();
  }

  serving(): void {
    this.#isServing = true;
    this.#sendServing();
  }

  status(): void {}

  restarting(): void {}

  prepareSuccessor({ firstFd }: { firstFd: number }) {
    if (!this.#link?.isOpen) return { fds: [], env: { [channelVariable]: 'lost' }, close() {} };
    const [keepers, successors] = openChannel();
    this.#say({ candidate: true }, [keepers.stream, keepers.datagrams]);
    closeChannelEnd(keepers);
    return {
      fds: [
        { fd: successors.stream, name: channelName },
        { fd: successors.datagrams, name: channelName },
      ],
      env: { [channelVariable]: `${firstFd},${firstFd + 1}` },
      close: () => closeChannelEnd(successors),
    };
  }

  handOver({ pid }: { pid: number }): void {
    this.#say({ successor: pid });
  }

  rollback(): void {
    this.#sendServing();
  }

  replaced(): void {
    this.#isServing = false;
    // A stop that came meanwhile is the keeper's to pass on.
    this.#say({ retired: true });
  }

  stopping(): void {}

  ended(code: number): void {
    this.#isServing = false;
    this.#untold.clear();
    this.#link?.sendLast({ ended: code });
  }

  async restore(): Promise<void> {
    // One that has not said who it is may be stopped, and goes on keeping when it is let run. One that is lost asks by itself.
    if (this.#link?.isOpen || !this.#isServing || this.lostKeeper !== null) return;
    const { failure } = startKeeper(this.#options);
    await Promise.race([this.#hello(), failure]);
    if (this.#keeper === null) throw new GraceError('the new keeper did not come up');
  }

  attach(path: string, pid: number | null): void {
    if (this.#link?.isOpen) throw alreadyRuns(this.#options.dir, this.#keeper?.pid ?? process.pid);
    const lost = this.lostKeeper;
    if (lost !== null && pid !== null && pid !== lost) throw alreadyRuns(this.#options.dir, lost);
    if (!this.#isServing) throw new GraceError(`the daemon in ${this.#options.dir} does not serve yet, or any more`);
    const [ours, theirs] = openChannel();
    let socket: number | null = null;
    try {
      socket = openSocket('unix', 'stream');
      connectSocket(socket, { family: 'unix', path });
      sendMessage(socket, new Uint8Array(1), { fds: [theirs.stream, theirs.datagrams] });
    } catch (error) {
      closeChannelEnd(ours);
      throw error;
    } finally {
      if (socket !== null) closeFd(socket);
      closeChannelEnd(theirs);
    }
    this.#open(ours).sendAll(this.#stored, (names) => ({ keep: names }));
    this.#sendServing();
  }

  watch(events: SupervisorEvents): void {
    this.#events = events;
    for (const note of this.#notes.splice(0)) events.note(note);
  }

  #open(end: ChannelEnd): Link {
    const link: Link = new Channel(end, {
      onMessage: (message, fds) => this.#receive(message, fds),
      onEnd: () => this.#lose(link),
    });
    this.#link = link;
    return link;
  }

  #receive(message: KeeperMessage, fds: number[]): void {
    if ('kept' in message) {
      for (const [index, name] of message.kept.entries()) {
        const fd = fds[index];
        if (fd !== undefined) this.#found.push([name, fd]);
      }
    } else if ('hello' in message) {
      const { pid, version, reason } = message.hello;
      this.#keeper = { pid, version };
      this.#last.is(pid);
      this.#reason ??= reason;
      this.#link?.send({ ping: runs });
      this.#heardHello.resolve();
      this.#events?.keeperChanged(this.#keeper);
    } else if ('note' in message) {
      if (this.#events) this.#events.note(message.note);
      else this.#notes.push(message.note);
    } else if ('stop' in message) {
      this.#events?.stop(message.stop);
    } else if ('pong' in message) {
      this.#pings.get(message.pong)?.();
    }
  }

  #lose(link: Link): void {
    if (this.#link !== link) return;
    this.#link = null;
    this.#keeper = null;
    void this.#last.lost();
    this.#heardHello.resolve();
    this.#heardHello = Promise.withResolvers();
    for (const resolve of this.#pings.values()) resolve();
    this.#events?.keeperChanged(null);
  }

  #sendServing(): void {
    this.#say({ serving: this.#identity() });
  }

  #identity(): DaemonIdentity {
    const { version, self } = this.#options;
    const program: Program = { file: self.file, args: self.args };
    return { pid: process.pid, version, format: keeperFormat, program, hearsStop: true };
  }

  /** Resolves when the keeper has said who it is, or is gone, or time is up. */
  async #hello(): Promise<void> {
    await within(this.#heardHello.promise, helloTimeoutMs);
  }
}

function alreadyRuns(dir: string, pid: number): GraceError {
  return new GraceError(`a daemon already runs in ${dir} (pid ${pid})`, {
    hint: 'replace it with: grace restart, or end it with: grace stop',
  });
}
