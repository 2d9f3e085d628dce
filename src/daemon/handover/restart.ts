import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { unlessAborted } from '../../abort.ts';
import { readLines, writeLine } from '../../control/lines.ts';
import type { Failure, Invocation, Request, Result } from '../../control/messages.ts';
import { MovedError } from '../../control/server.ts';
import { longestDurationMs } from '../../endpoint/duration.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { LISTEN_FDS_START } from '../../net/inherit.ts';
import type { Held } from '../../forward/forwarder.ts';
import type { DestinationView } from '../../forward/table.ts';
import type { Listener } from '../../net/listener.ts';
import { takeOverSocketPath } from '../../net/unix-path.ts';
import { closeFd } from '../../sys/descriptor.ts';
import { openSocketPair } from '../../sys/socket.ts';
import { describeError } from '../../sys/system-error.ts';
import { checkExecutable, whyNotRunnable } from '../executable.ts';
import { handoverVariable } from './messages.ts';
import type { GoMessage, Handover, HandedRule, SuccessorMessage } from './messages.ts';
import { limitHint } from '../listeners/limits.ts';
import { moveFormat, moveOut, moveSocketName } from './move.ts';
import type { MoveChannel } from './move.ts';
import type { Handing, Service } from '../service.ts';
import { consoleName, lockName } from '../listeners/listeners.ts';
import { textOf } from '../rules/specs.ts';

/**
 * Replace this daemon by a new process of `exec`. Any failure before the new one serves leaves this
 * one as it was; the error says why.
 */
export async function replaceDaemon(service: Service, { exec, timeoutMs }: Pick<Request<'restart'>, 'exec' | 'timeoutMs'>): Promise<Result<'restart'>> {
  const { forwarder, log, supervisor } = service;
  if (service.phase === 'serving' && service.isMoving) throw new GraceError('a restart is already under way');
  if (service.phase === 'serving') checkExecutable(exec);
  service.life.restarts();
  log.info({ exec: exec.file }, 'restarting');
  const deadline = new Deadline(timeoutMs);
  service.cancelRestart = (why) => deadline.cancel(why);
  let held: Held | null = null;
  let isPaused = false;
  let successor: Successor | null = null;
  let ready: { pid: number; version: string; move?: number };
  try {
    supervisor.restarting({ timeoutMs });
    held = await deadline.bound(forwarder.hold(deadline), 'a change of the rules that is under way did not end');
    const { handover, listeners, told } = picture(service);
    successor = await Successor.start(exec, service, listeners);
    successor.say({ handover });
    ({ ready } = await deadline.bound(successor.hear('ready'), 'the new process did not come up'));
    service.cancelRestart = null;
    isPaused = true;
    await deadline.bound(held.pause(), 'accepting did not stop');
    handOver(service, told);
    successor.say({ go: true, ...goingOn(service) });
    await deadline.bound(successor.hear('serving'), 'the new process did not take over');
  } catch (error) {
    await successor?.end();
    goOn(service, held, { isPaused });
    log.error({ error: errorMessage(error), hint: error instanceof GraceError ? error.hint : undefined }, 'restart failed; going on as before');
    throw error instanceof GraceError ? error : new GraceError(`cannot restart: ${describeError(error)}`, { hint: limitHint(error), cause: error });
  } finally {
    service.cancelRestart = null;
    deadline.clear();
  }
  return await retire(service, { held, successor, ready });
}

/** The restart came to nothing: everything as it was. */
function goOn(service: Service, held: Held | null, { isPaused }: { isPaused: boolean }): void {
  const { forwarder, supervisor, log, endedGenerations } = service;
  service.life.goesOn();
  for (const { destination, ...bytes } of service.handing?.told ?? []) destination.add(bytes);
  service.handing = null;
  endedGenerations.goOn();
  try {
    if (held && isPaused) {
      held.resume();
      for (const { listener } of forwarder.rules) takeOverSocketPath(listener);
      service.takeOver();
    } else held?.goOn();
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'not everything is as it was before the restart');
  }
  supervisor.goOn();
}

/** From here on nothing that is counted here is counted by the successor too. */
function handOver(service: Service, told: Handing['told']): void {
  service.endedGenerations.hold();
  service.handing = { told, views: service.forwarder.views().filter(({ listener }) => listener !== null) };
  for (const { destination, ...bytes } of told) destination.handOver(bytes);
}

/** What the successor must know once this process accepts nobody any more. */
function goingOn({ forwarder, generations }: Service): GoMessage {
  return { connections: forwarder.rules.map(({ seats }) => seats?.taken ?? 0), generations: generations.reports };
}

type Retirement = { held: Held; successor: Successor; ready: { pid: number; version: string; move?: number } };

/** The successor serves, and there is no way back: whatever goes wrong here must not touch what is its own now. */
async function retire(service: Service, { held, successor, ready }: Retirement): Promise<Result<'restart'>> {
  const { forwarder, generations, log, supervisor } = service;
  service.life.isReplaced();
  service.keptRules.forget(); // the successor has left its own
  const movable = forwarder.views().filter(({ listener }) => listener !== null);
  held.retire(new MovedError('this daemon was replaced by a newer one'));
  service.lock.release();
  try {
    supervisor.replaced({ pid: ready.pid, isStopping: service.isStopWanted });
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'the supervisor was not told of the successor');
  }
  const moved = ready.move === moveFormat ? await moveConnections(service, successor, movable) : 0;
  successor.release();
  log.info({ successor: ready.pid, version: ready.version, moved, connections: forwarder.connections }, 'replaced');
  const older = generations.reports.flatMap((report) => report.rows).reduce((sum, { row }) => sum + row.connections, 0);
  const draining = forwarder.connections + older;
  return {
    oldPid: process.pid,
    newPid: ready.pid,
    oldVersion: service.version,
    newVersion: ready.version,
    moved,
    movedTls: 0,
    draining,
    ...(draining > 0 && { why: whyTheyStay(service, ready) }),
  };
}

function whyTheyStay({ engine }: Service, { move }: Retirement['ready']): string {
  if (!engine.mover) return `the ${engine.name} engine moves none`;
  if (move !== moveFormat) return 'the new process takes none';
  return 'with TLS, or of a rule that was stopped, they do not move';
}

/** The open connections go to the successor. Returns how many did. */
async function moveConnections(service: Service, successor: Successor, movable: readonly DestinationView[]): Promise<number> {
  service.isMoving = true;
  try {
    return await moveOut(service, { channel: successor.moving, socket: successor.moveSocket, movable, told: service.handing?.told ?? [] });
  } finally {
    service.isMoving = false;
    service.changes.notify();
  }
}

/** What the successor needs to go on, and the listeners in the order in which it inherits them. */
function picture(service: Service): { handover: Handover; listeners: Listener[]; told: Handing['told'] } {
  const sockets = service.listeners.given;
  const listeners: Listener[] = sockets.map(({ listener }) => listener);
  const indexOf = (listener: Listener): number => {
    const known = listeners.indexOf(listener);
    return known >= 0 ? known : listeners.push(listener) - 1;
  };
  const told = service.forwarder.rules.map(({ current }) => {
    const { bytesIn, bytesOut } = current.stats();
    return { destination: current, bytesIn, bytesOut };
  });
  const served = service.forwarder.rules.map((rule, index): HandedRule => {
    const { bytesIn, bytesOut } = told[index]!;
    return { src: textOf(rule.src), dst: textOf(rule.current.spec), listener: indexOf(rule.listener), bytesIn, bytesOut, since: rule.current.since };
  });
  const broken = service.forwarder.broken.map(({ spec }): HandedRule => ({ src: textOf(spec.src), dst: textOf(spec.dst), listener: null, bytesIn: 0, bytesOut: 0, since: '' }));
  const handover: Handover = {
    format: 1,
    version: service.version,
    pid: process.pid,
    startedAt: service.startedAt,
    uptimeMs: service.uptimeMs(),
    generation: service.generation,
    rules: [...served, ...broken],
    ...(service.unread.length > 0 ? { unread: service.unread } : {}),
    ...(service.engine.mover ? { move: moveFormat } : {}),
    sockets: sockets.map(({ fd, index, name }, listener) => ({ listener, fd, index, name })),
  };
  return { handover, listeners, told };
}

/** The new process, while it is not yet the daemon. */
class Successor {
  readonly #file: string;
  readonly #child: ChildProcess;
  readonly #messages: AsyncGenerator<unknown, void, void>;
  /** How it ended, once it has. Listened for from the start: it may end before anybody asks. */
  readonly #end: Promise<string>;
  #lastWords = '';

  /** This process's end of the socket pair by which connections move. */
  readonly moveSocket: number;

  private constructor(child: ChildProcess, { file, moveSocket }: { file: string; moveSocket: number }) {
    this.#child = child;
    this.#file = file;
    this.moveSocket = moveSocket;
    this.#end = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ? `was ended by ${signal}` : `exited with code ${code}`));
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#lastWords = (this.#lastWords + text).slice(-2000)));
    child.stdin?.on('error', () => {}); // it ended; hear() tells
    this.#messages = readLines(child.stdout!);
  }

  static async start(exec: Invocation, { paths, lock, listeners: { net }, flags, supervisor, logOutput }: Service, listeners: readonly Listener[]): Promise<Successor> {
    const supervised = supervisor.prepareSuccessor({ firstFd: LISTEN_FDS_START + listeners.length + 1 });
    const [moveSocket, moveSocketOfSuccessor] = openSocketPair('seqpacket');
    try {
      const child = await net.startProcess({
        file: exec.file,
        args: [...exec.args, '-d', paths.dir, 'daemon', ...flags],
        cwd: '/',
        env: { ...process.env, ...supervised.env, [handoverVariable]: '1' },
        stdio: ['pipe', 'pipe', 'pipe'],
        listeners,
        areNamed: false, // the hand-over says which is which, by their order
        extras: [{ fd: lock.fd, name: lockName }, ...supervised.fds, { fd: moveSocketOfSuccessor, name: moveSocketName }, { fd: logOutput.kind === 'console' ? logOutput.fd : logOutput.spare, name: consoleName }],
        detached: true,
      });
      return new Successor(child, { file: exec.file, moveSocket });
    } catch (error) {
      closeFd(moveSocket);
      const why = error instanceof GraceError ? whyNotRunnable(exec.file, error.cause) : null;
      throw why === null ? error : new GraceError(`cannot restart: ${errorMessage(error)}`, { hint: why, cause: error });
    } finally {
      closeFd(moveSocketOfSuccessor);
      supervised.close();
    }
  }

  say(message: { handover: Handover } | ({ go: true } & GoMessage)): void {
    writeLine(this.#child.stdin!, message);
  }

  /** The next thing it says, which must be of this kind. Rejects when it fails or ends instead. */
  async hear<K extends 'ready' | 'serving'>(kind: K): Promise<Extract<SuccessorMessage, Record<K, unknown>>> {
    // What is no message comes from a program that is no grace.
    const { value } = await this.#messages.next().catch(() => ({ value: undefined }));
    const message = value as SuccessorMessage | undefined;
    if (message && kind in message) return message as Extract<SuccessorMessage, Record<K, unknown>>;
    if (message && 'failed' in message) throw errorOf(message.failed);
    // It closed its output, or talks about something else: then its end is all there is to wait for.
    const timer = setTimeout(() => killGroup(this.#child), lingerMs);
    const how = await this.#end;
    clearTimeout(timer);
    const why = whyNotRunnable(this.#file);
    if (why !== null) throw new GraceError(`cannot restart: ${why}`, { hint: 'name another executable with --exec PATH' });
    throw new GraceError(`cannot restart: the new process ${how} before it served`, { hint: this.#lastWords.trim().split('\n').slice(-3).join(' | ') || undefined });
  }

  /** The channel by which connections move, once it serves. */
  get moving(): MoveChannel {
    return {
      say: (message) => writeLine(this.#child.stdin!, message),
      hear: async () => (await this.#messages.next().catch(() => ({ value: undefined }))).value ?? null,
    };
  }

  /** Kill it and wait for its end, but not for one that the kernel holds up: no code of it runs any more. */
  async end(): Promise<void> {
    closeFd(this.moveSocket);
    killGroup(this.#child);
    await Promise.race([this.#end, delay(endTimeoutMs, undefined, { ref: false })]);
  }

  /** It is the daemon now: let go of the pipes to it. */
  release(): void {
    closeFd(this.moveSocket);
    this.#child.stdin?.destroy();
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#child.unref();
  }
}

/** How long a process that was killed may take to be gone, in milliseconds. */
const endTimeoutMs = 2000;

/** How long a program that is no grace may live on after it has shown that, in milliseconds. */
const lingerMs = 1000;

/** It leads a session of its own; what it started, as a script does, ends with it. */
function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // it has not become a leader yet, or has ended
  }
}

function errorOf({ message, hint }: Failure): GraceError {
  return new GraceError(`cannot restart: ${message}`, { hint });
}

/** One time limit over several waits, which can be cut short. */
class Deadline {
  readonly #timeoutMs: number;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** Why it was cut short, if it was. */
  #why: string | null = null;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#timer = setTimeout(() => this.#over.abort(new Error('time is up')), Math.min(timeoutMs, longestDurationMs));
  }

  /** Aborts when time is up. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** What a wait brings. Rejects with GraceError when time is up before, and then nobody hears what it brings. */
  async bound<T>(wait: Promise<T>, whatWasLate: string): Promise<T> {
    const { signal } = this;
    wait.catch(() => {}); // once time is up its failure is no news
    try {
      return await unlessAborted(wait, signal);
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
      throw new GraceError(`cannot restart: ${this.#why ?? `${whatWasLate} within ${this.#timeoutMs / 1000} s`}`);
    }
  }

  cancel(why: string): void {
    this.#why ??= why;
    this.#over.abort(new Error(why));
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}
