/**
 * The keeper: the process with the one pid. It starts the daemon proper as a child and holds copies
 * of its listening sockets, so that one which crashes is started again on the same sockets. Daemons
 * replace one another by themselves (`grace restart`) and notify the keeper, each over a channel of its
 * own whose end is the end of that daemon: whose child a daemon is does not matter.
 *
 * It is loaded instead of the daemon, and imports as little as can be: it has to be small.
 */
import { readFileSync, rmSync } from 'node:fs';
import type { Program } from '../control/shapes.ts';
import { statePaths } from '../control/paths.ts';
import { errorMessage } from '../error.ts';
import { closeFd } from '../sys/descriptor.ts';
import { holdSignals } from '../sys/exec.ts';
import { hasLinuxCalls, setChildSubreaper, setThreadName } from '../sys/process.ts';
import { recall } from './become.ts';
import type { Remembered } from './become.ts';
import { isShortage, spawnDaemon } from './child.ts';
import { openChannel } from './channel.ts';
import { takeInheritedSockets } from './inherited.ts';
import { FdStore } from './fd-store.ts';
import { followVersion } from './follow-version.ts';
import { WatchedGenerations } from './generations.ts';
import type { Generation } from './generations.ts';
import { keeperFormat } from './messages.ts';
import type { DaemonIdentity, DaemonMessage } from './messages.ts';
import { Programs } from './programs.ts';
import { Reaper } from './reaper.ts';
import { Restarter } from './restarter.ts';
import { strayErrors } from '../stray-errors.ts';
import { trimMemory } from '../sys/trim-memory.ts';
import { SignalRelay, forwarded } from './signals.ts';
import { KeeperConsole } from './console.ts';

/** How a keeper is started. */
export type KeeperOptions = {
  dir: string;
  /** How this program was started. */
  self: Program;
  /** The arguments after that: a daemon is started with the same. */
  args: readonly string[];
  version: string;
  env: NodeJS.ProcessEnv;
  onSignal: (signal: NodeJS.Signals, handler: () => void) => void;
  /** Calls the handler with each error that nobody has caught, which then does not end the process. */
  onStrayError: (handler: (error: unknown) => void) => void;
};

/** After so long without a word from a daemon, memory is given back. */
const trimAfterMs = 1000;

/** Keep a daemon running until it ends by itself. Resolves with the exit code. Rejects with GraceError when one runs already. */
export async function runKeeper(options: KeeperOptions): Promise<number> {
  return await new Keeper(options, null).run(null);
}

/** Go on after this process has become another version. */
export async function resumeKeeper(options: Omit<KeeperOptions, 'dir' | 'args'>): Promise<number> {
  const remembered = recall(options.env);
  const { dir, args } = remembered;
  return await new Keeper({ ...options, dir, args }, remembered).run(remembered);
}

class Keeper {
  readonly #options: KeeperOptions;
  readonly #store: FdStore;
  readonly #console: KeeperConsole;
  readonly #generations = new WatchedGenerations({
    onMessage: (generation, message, fds) => this.#hear(generation, message, fds),
    onEnd: (generation) => this.#lose(generation),
  });
  readonly #exit = Promise.withResolvers<number>();
  readonly #programs: Programs;
  #hasServed = false;
  /** The last start failed for want of something that may come back. */
  #isShort = false;
  readonly #signals: SignalRelay;
  #trimTimer: NodeJS.Timeout | undefined;
  readonly #reaper = new Reaper();
  readonly #restarter = new Restarter({
    reaper: this.#reaper,
    start: (how) => {
      if (!this.#console.isBackground && !this.#isShort) this.#console.print(`${how}; starting it again`);
      this.#startAgain(how);
    },
    leave: (pid) => {
      this.#console.print(
        `the daemon (pid ${pid}) lives, and has lost touch with this keeper, which leaves it to the next one`,
      );
      this.#finish(1);
    },
    giveUp: (how) => this.#giveUp(`${how}, as it did at each of the last starts`),
  });

  constructor(options: KeeperOptions, remembered: Remembered | null) {
    const { env, dir, self } = options;
    this.#options = options;
    this.#programs = new Programs(self);
    this.#console = new KeeperConsole({
      dir,
      env,
      args: options.args,
      wasBackground: remembered?.isBackground === true,
    });
    this.#store = new FdStore(remembered?.kept ?? takeInheritedSockets(env));
    this.#signals = new SignalRelay(() => this.#generations, remembered?.pendingSignals ?? []);
  }

  async run(remembered: Remembered | null): Promise<number> {
    const { onSignal, onStrayError } = this.#options;
    process.chdir('/');
    for (const signal of forwarded) onSignal(signal, () => this.#forward(signal));
    becomeReaper();
    onSignal('SIGCHLD', () => this.#reaper.reap());
    // An earlier image of this process held them back.
    holdSignals(forwarded, false);
    if (remembered) this.#resume(remembered);
    else if (!(await this.#attach())) this.#start(null);
    this.#reaper.reap();
    this.#trimSoon();
    onStrayError(
      strayErrors(({ message }) => this.#console.print(`internal error in the keeper, which goes on: ${message}`)),
    );
    return await this.#exit.promise;
  }

  /** Be the keeper of a daemon that lost its own. False when no daemon runs. */
  async #attach(): Promise<boolean> {
    const { attachToDaemon } = await import('./attach.ts');
    const end = await attachToDaemon(this.#options.dir);
    if (!end) return false;
    this.#console.answered();
    this.#generations.add(end, { phase: 'restarting', pid: null });
    this.#greetAll();
    return true;
  }

  #resume({ generations, hasServed }: Remembered): void {
    this.#hasServed = hasServed;
    for (const { stream, datagrams, pid, phase, ended } of generations)
      this.#generations.add({ stream, datagrams }, { phase, pid, ended });
    this.#greetAll();
    this.#look();
  }

  #greetAll(): void {
    this.#generations.send({ hello: this.#hello(null) });
  }

  #hello(reason: string | null) {
    return { pid: process.pid, version: this.#options.version, format: keeperFormat, reason };
  }

  /** In place of one that has served: clients wait in the queues, so that a shortage is waited for. */
  #startAgain(how: string): void {
    try {
      this.#start(how);
    } catch (error) {
      if (!this.#hasServed || !isShortage(error))
        return this.#giveUp(`${how}, and cannot be started again: ${errorMessage(error)}`);
      this.#waitFor(error, how);
    }
  }

  #waitFor(error: unknown, how: string): void {
    if (!this.#isShort)
      this.#console.print(
        `${how}, and cannot be started for the moment: ${errorMessage(error)}; it is tried again and again`,
      );
    this.#isShort = true;
    this.#restarter.startLater(how);
  }

  #start(reason: string | null): void {
    if (this.#signals.isStopping) return this.#finish(0);
    const [ours, theirs] = openChannel();
    const generation = this.#generations.add(ours, { phase: 'starting', pid: null });
    generation.channel.sendAll(this.#store, (names) => ({ kept: names }));
    generation.channel.send({ hello: this.#hello(reason) });
    const { env, args } = this.#options;
    const child = spawnDaemon({
      programs: this.#programs.inTurn(),
      args,
      end: theirs,
      env: this.#console.environment(env),
    });
    this.#console.answered();
    generation.pid = child.pid;
    child.onShortage((error) => (generation.shortage = error));
    const { pid } = child;
    if (pid === null) return; // the closed channel tells
    this.#reaper.add(pid);
    child.onExit((how) => this.#reaper.remove(pid, how));
  }

  #hear(generation: Generation, message: DaemonMessage, fds: number[]): void {
    this.#trimSoon();
    if ('keep' in message) {
      for (const name of this.#store.keepAll(message.keep, fds)) {
        generation.channel.send({
          note: `the keeper has no descriptor left for a rule's socket (${name}): a crash of the daemon would have its clients refused`,
        });
      }
    } else if ('forget' in message) {
      for (const name of message.forget) this.#store.forget(name);
    } else if ('candidate' in message) {
      const [stream, datagrams] = fds;
      // Without a descriptor left for both, it finds the channel closed, and goes on without a keeper.
      if (stream === undefined || datagrams === undefined) return fds.forEach(closeFd);
      try {
        this.#generations
          .add({ stream, datagrams }, { phase: 'starting', pid: null })
          .channel.send({ hello: this.#hello(null) });
      } catch (error) {
        this.#console.print(`a new daemon cannot be kept: ${errorMessage(error)}`);
      }
    } else if ('ready' in message) {
      Object.assign(generation, { pid: message.ready.pid });
      this.#follow(generation, message.ready);
    } else if ('serving' in message) {
      this.#serves(generation, message.serving);
    } else if ('retired' in message) {
      generation.phase = 'replaced';
      this.#look();
    } else if ('ended' in message) {
      generation.ended = message.ended;
    } else if ('ping' in message) {
      generation.channel.send({ pong: message.ping });
    }
  }

  /** Nothing happens for days on end: then memory is better given back. */
  #trimSoon(): void {
    clearTimeout(this.#trimTimer);
    this.#trimTimer = setTimeout(trimMemory, trimAfterMs);
  }

  #serves(generation: Generation, identity: DaemonIdentity): void {
    this.#generations.serves(generation, identity);
    this.#programs.served(identity.program);
    this.#hasServed = true;
    this.#isShort = false;
    this.#restarter.served();
    this.#console.redirect();
    this.#signals.serving();
  }

  /** A daemon is gone. */
  #lose(generation: Generation): void {
    if (generation.phase !== 'replaced') {
      if (generation.ended !== null && (this.#hasServed ? generation.phase === 'serving' : true))
        return this.#finish(generation.ended);
      this.#look(generation);
    }
  }

  /** Start a daemon when none is left that serves or may come to. */
  #look(lost?: Generation): void {
    if (this.#generations.isServed || this.#restarter.isPending) return;
    if (this.#signals.isStopping) return this.#finish(0);
    if (lost?.shortage && this.#hasServed) return this.#waitFor(lost.shortage, 'the daemon ended');
    if (lost?.phase === 'starting') this.#programs.failed();
    this.#restarter.crashed(lost?.pid ?? null);
  }

  #giveUp(how: string): void {
    this.#console.print(`${how}; giving up`);
    const paths = statePaths(this.#options.dir);
    try {
      if (readFileSync(paths.pid, 'utf8').trim() === String(process.pid)) rmSync(paths.pid);
    } catch {
      // There is none.
    }
    this.#finish(1);
  }

  #finish(code: number): void {
    this.#restarter.cancel();
    this.#exit.resolve(code);
  }

  #forward(signal: NodeJS.Signals): void {
    if (signal === 'SIGHUP' || signal === 'SIGUSR1') this.#console.redirect();
    // Between a crash and the next start there is nobody to end but this process.
    if (!this.#signals.pass(signal) && this.#restarter.isPending) this.#finish(0);
  }

  /** It is a successor that has come up: it hears hello when this process has become what it is, or stays what it was. */
  #follow(generation: Generation, identity: DaemonIdentity): void {
    const parts = {
      generations: this.#generations,
      store: this.#store,
      console: this.#console,
      signals: this.#signals,
      hasServed: () => this.#hasServed,
    };
    followVersion(generation, identity, { ...this.#options, ...parts }, (why) => {
      if (why !== null) generation.channel.send({ note: `the keeper stays version ${this.#options.version}: ${why}` });
      generation.channel.send({ hello: this.#hello(null) });
    });
  }
}

/** Orphaned daemons become this process's children. Without that it keeps all the same. */
function becomeReaper(): void {
  if (!hasLinuxCalls) return;
  try {
    setThreadName('grace-keeper');
    setChildSubreaper(true);
  } catch {
    // See whyNotKeeper.
  }
}
