import type { ChildProcess } from 'node:child_process';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { readLines, writeLine } from '../../control/lines.ts';
import { handoverVariable } from '../../control/launch.ts';
import { asideVariable } from '../../control/step-aside.ts';
import { lastWords } from '../../control/last-words.ts';
import type { Program } from '../../control/shapes.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { LISTEN_FDS_START } from '../../net/inherit.ts';
import type { Listener } from '../../net/listener.ts';
import { closeFd } from '../../sys/descriptor.ts';
import { openSocketPair } from '../../sys/socket.ts';
import { within } from '../../waiting.ts';
import { whyNotRunnable } from '../executable.ts';
import type { Service } from '../service.ts';
import { readSuccessorMessage } from './messages.ts';
import type { GoMessage, Handover, SuccessorMessage } from './messages.ts';
import { consoleName, lockName, moveSocketName, standardOutputName } from './descriptors.ts';
import type { MoveChannel } from './messages.ts';

/** The new process, while it is not yet the daemon. */
export class Successor {
  readonly #file: string;
  readonly #child: ChildProcess;
  /** Its standard input. */
  readonly #input: Writable;
  readonly #messages: AsyncGenerator<unknown, void, void>;
  /** How it ended, once it has. Listened for from the start: it may end before anybody asks. */
  readonly #end: Promise<string>;
  #said = '';
  #isReleased = false;

  /** This process's end of the socket pair by which connections move. */
  readonly moveSocket: number;

  private constructor(
    child: ChildProcess,
    { file, moveSocket, input }: { file: string; moveSocket: number; input: Writable | null },
  ) {
    this.#child = child;
    this.#input = input ?? child.stdin!;
    this.#file = file;
    this.moveSocket = moveSocket;
    this.#end = new Promise((resolve) => {
      child.once('exit', async (code, signal) => {
        const hasMadeWay = input !== null && code === 0;
        if (hasMadeWay) while (!this.#isReleased && isGroup(child.pid!)) await delay(lookMs, undefined, { ref: false });
        resolve(signal ? `was ended by ${signal}` : hasMadeWay ? 'ended' : `exited with code ${code}`);
      });
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#said = (this.#said + text).slice(-4096)));
    this.#input.on('error', () => {}); // it ended; receive() tells
    this.#messages = readLines(child.stdout!);
  }

  /** Start `exec` with these listeners, in this order. Rejects with GraceError when that cannot be. */
  static async start(
    exec: Program,
    { paths, lock, listeners: { net }, flags, supervisor, logOutput, accessLog }: Service,
    listeners: readonly Listener[],
  ): Promise<Successor> {
    const supervised = supervisor.prepareSuccessor({ firstFd: LISTEN_FDS_START + listeners.length + 1 });
    let pair: [ours: number, theirs: number] | null = null;
    let inputs: [ours: number, theirs: number] | null = null;
    try {
      // One that makes way for the successor proper takes the runtime's pipe with it: that one gets a socket of its own.
      if (asideVariable in supervised.env) inputs = openSocketPair('stream');
      const [moveSocket, moveSocketOfSuccessor] = (pair = openSocketPair('seqpacket'));
      const child = await net.startProcess({
        file: exec.file,
        args: [...exec.args, '-d', paths.dir, 'daemon', ...flags],
        cwd: '/',
        env: { ...process.env, ...supervised.env, [handoverVariable]: '1' },
        stdio: [inputs ? inputs[1] : 'pipe', 'pipe', 'pipe'],
        listeners,
        areNamed: false, // the hand-over says which is which, by their order
        extras: [
          { fd: lock.fd, name: lockName },
          ...supervised.fds,
          { fd: moveSocketOfSuccessor, name: moveSocketName },
          { fd: logOutput.kind === 'console' ? logOutput.fd : logOutput.spare, name: consoleName },
          ...(accessLog?.place.kind === 'console' ? [{ fd: accessLog.place.fd, name: standardOutputName }] : []),
        ],
        detached: true,
      });
      return new Successor(child, {
        file: exec.file,
        moveSocket,
        input: inputs && new Socket({ fd: inputs[0], readable: false, writable: true }),
      });
    } catch (error) {
      if (pair) closeFd(pair[0]);
      if (inputs) closeFd(inputs[0]);
      const why = error instanceof GraceError ? whyNotRunnable(exec.file, error.cause) : null;
      throw why === null
        ? error
        : new GraceError(`cannot restart: ${errorMessage(error)}`, { hint: why, cause: error });
    } finally {
      if (pair) closeFd(pair[1]);
      if (inputs) closeFd(inputs[1]);
      supervised.close();
    }
  }

  /** Write to its standard input; one that has ended is told of by `receive`. */
  send(message: { handover: Handover } | GoMessage): void {
    writeLine(this.#input, message);
  }

  /** The next message, which must be of this kind. Rejects with GraceError when it fails or ends instead. */
  async receive<K extends 'ready' | 'serving'>(kind: K): Promise<Extract<SuccessorMessage, Record<K, unknown>>> {
    // What is no message comes from a program that is no grace.
    const { value } = await this.#messages.next().catch(() => ({ value: undefined }));
    const message = readSuccessorMessage(value);
    if (message && kind in message) return message as Extract<SuccessorMessage, Record<K, unknown>>;
    if (message && 'failed' in message)
      throw new GraceError(`cannot restart: ${message.failed.message}`, { hint: message.failed.hint });
    // It closed its output, or talks about something else: then its end is all there is to wait for.
    await within(this.#end, lingerMs, { onLate: () => killGroup(this.#child) });
    const how = await this.#end;
    const why = whyNotRunnable(this.#file);
    if (why !== null)
      throw new GraceError(`cannot restart: ${why}`, { hint: 'name another executable with --exec PATH' });
    throw new GraceError(`cannot restart: the new process ${how} before it served`, { hint: lastWords(this.#said) });
  }

  /** The channel by which connections move, once it serves. */
  get moving(): MoveChannel {
    return {
      send: (message) => writeLine(this.#input, message),
      receive: async () => (await this.#messages.next().catch(() => ({ value: undefined }))).value ?? null,
    };
  }

  /** Kill it and wait for its end, but not for one that the kernel holds up: no code of it runs any more. */
  async end(): Promise<void> {
    closeFd(this.moveSocket);
    this.#input.destroy();
    killGroup(this.#child);
    await within(this.#end, endTimeoutMs, { ref: false });
  }

  /** It is the daemon now: release the pipes to it. */
  release(): void {
    this.#isReleased = true;
    closeFd(this.moveSocket);
    this.#input.destroy();
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#child.unref();
  }
}

/** How long a process that was killed may take to be gone, in milliseconds. */
const endTimeoutMs = 2000;

/** How long a program that is no grace may live on after it has shown that, in milliseconds. */
const lingerMs = 1000;

/** Between two looks whether one whose end is not told has ended, in milliseconds. */
const lookMs = 20;

/** Whether somebody is left of the group that this process led. */
function isGroup(pid: number): boolean {
  try {
    return process.kill(-pid, 0);
  } catch {
    return false;
  }
}

/** It leads a session of its own; what it started, as a script does, ends with it. */
function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // it has not become a leader yet, or has ended
  }
}
