/**
 * The keeper: the process with the one pid. It starts the daemon proper as a child and holds copies
 * of its listening sockets, so that one which crashes is started again on the same sockets. Daemons
 * replace one another by themselves (`grace restart`) and notify the keeper, each over a channel of its
 * own whose end is the end of that daemon: whose child a daemon is does not matter.
 *
 * It is loaded instead of the daemon, and imports as little as can be: it has to be small.
 */
import { rmSync } from 'node:fs';
import type { Program } from '../control/shapes.ts';
import { statePaths } from '../control/paths.ts';
import { errorMessage } from '../error.ts';
import { closeFd } from '../sys/descriptor.ts';
import { holdSignals } from '../sys/exec.ts';
import { readRegularFile } from '../sys/regular-file.ts';
import type { Attached } from './attach.ts';
import { recall } from './become.ts';
import type { Remembered } from './become.ts';
import { takeInheritedSockets } from './inherited.ts';
import { FdStore } from './fd-store.ts';
import { followVersion } from './follow-version.ts';
import { WatchedGenerations } from './generations.ts';
import type { Generation } from './generations.ts';
import { keeperFormat } from './messages.ts';
import type { DaemonIdentity, DaemonMessage } from './messages.ts';
import { Programs } from './programs.ts';
import { Reaper, becomeReaper } from './reaper.ts';
import { Recovery } from './recovery.ts';
import { startDaemon } from './starter.ts';
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
  readonly #signals: SignalRelay;
  #trimTimer: NodeJS.Timeout | undefined;
  readonly #reaper = new Reaper();
  readonly #recovery: Recovery;

  /** For what starts daemons, and for another version of this process. */
  get #parts() {
    return {
      generations: this.#generations,
      store: this.#store,
      console: this.#console,
      signals: this.#signals,
      programs: this.#programs,
      reaper: this.#reaper,
      hasServed: () => this.#hasServed,
    };
  }

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
    this.#recovery = new Recovery({
      dir,
      reaper: this.#reaper,
      signals: () => this.#signals,
      hasServed: () => this.#hasServed,
      start: (how) => this.#start(how),
      joined: (attached) => this.#join(attached),
      giveUp: (how) => this.#giveUp(how),
      finish: (code) => this.#finish(code),
      print: (text, { isTrouble }) => void ((isTrouble || !this.#console.isBackground) && this.#console.print(text)),
    });
    const targets = () => [...this.#generations, ...this.#recovery.targets];
    this.#signals = new SignalRelay(targets, remembered?.pendingSignals ?? []);
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
    const attached = await attachToDaemon(this.#options.dir);
    if (!attached) return false;
    if ('refusal' in attached) throw attached.refusal;
    this.#join(attached);
    return true;
  }

  #join({ end, pid }: Attached): void {
    this.#console.answered();
    this.#generations.add(end, { phase: 'restarting', pid }).channel.send({ hello: this.#hello(null) });
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

  #start(reason: string | null): void {
    if (this.#signals.isStopping) return this.#finish(0);
    startDaemon({ hello: this.#hello(reason) }, { ...this.#options, ...this.#parts });
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
      // Without a descriptor left for both, it finds the channel closed, and is asked for another one when it serves.
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
      this.#look(generation);
    } else if ('successor' in message) {
      generation.successor = message.successor;
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
    this.#recovery.served();
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

  /** See to it that a daemon serves when this one is gone, or was replaced: unless another one does, or may come to. */
  #look(lost?: Generation): void {
    if (this.#generations.isServed || this.#recovery.isPending) return;
    if (lost?.phase === 'starting' && !(lost.shortage && this.#hasServed)) this.#programs.failed();
    this.#recovery.begin(lost);
  }

  #giveUp(how: string): void {
    this.#console.print(`${how}; giving up`);
    const paths = statePaths(this.#options.dir);
    try {
      if (readRegularFile(paths.pid).trim() === String(process.pid)) rmSync(paths.pid);
    } catch {
      // There is none.
    }
    this.#finish(1);
  }

  #finish(code: number): void {
    this.#recovery.cancel();
    this.#exit.resolve(code);
  }

  #forward(signal: NodeJS.Signals): void {
    if (signal === 'SIGHUP' || signal === 'SIGUSR1') this.#console.redirect();
    // Between a crash and the next start there is nobody to end but this process.
    if (!this.#signals.pass(signal) && this.#recovery.isPending) this.#finish(0);
  }

  /** It is a successor that has come up: it hears hello when this process has become what it is, or stays what it was. */
  #follow(generation: Generation, identity: DaemonIdentity): void {
    followVersion(generation, identity, { ...this.#options, ...this.#parts }, (why) => {
      if (why !== null) generation.channel.send({ note: `the keeper stays version ${this.#options.version}: ${why}` });
      generation.channel.send({ hello: this.#hello(null) });
    });
  }
}
