/**
 * Whoever started this process as a daemon and waits to hear how it goes: a client that launched it
 * in the background, the older daemon that it succeeds, or a person or init system (foreground).
 */
import { createReadStream, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { launchVariable } from '../../control/launch.ts';
import type { LaunchMessage } from '../../control/launch.ts';
import { readLines } from '../../control/lines.ts';
import { failureOf } from '../../control/messages.ts';
import type { Failure } from '../../control/messages.ts';
import { GraceError } from '../../error.ts';
import { isRunning } from '../../sys/process.ts';
import { handoverVariable, parseHandover } from './messages.ts';
import type { GoMessage, Handover, SuccessorMessage } from './messages.ts';
import { moveFormat } from './move.ts';
import type { MoveChannel } from './move.ts';

export type Parent = {
  kind: 'foreground' | 'client' | 'predecessor';
  /** What the predecessor hands over; null without one. */
  handover: Handover | null;
  /** Something the user must be told. */
  note(text: string): void;
  /** It did not work out; the process is about to end. */
  failed(failure: Failure): void;
  /** Everything is open. Resolves when this process may take the state dir over, with what a predecessor says at that moment. */
  ready(options: { version: string; canMove: boolean }): Promise<Partial<GoMessage>>;
  /** Clients reach this process now; unless it is in the foreground, `settleStreams` is called: from here on, or once `moving` is done. */
  serving(options: { settleStreams: () => void }): void;
  /** By which open connections come over; null when they do not. Set by `ready`. */
  moving: MoveChannel | null;
  /** Resolves with whether the predecessor has died, which nobody but a process that waits for it can be sure of. */
  isDead(): Promise<boolean>;
};

/** Find out who started this process. The variables that tell are removed, so that no child inherits them. */
export async function meetParent(env: NodeJS.ProcessEnv): Promise<Parent> {
  const isLaunched = env[launchVariable] !== undefined;
  const isSuccessor = env[handoverVariable] !== undefined;
  delete env[launchVariable];
  delete env[handoverVariable];
  if (isSuccessor) return meetPredecessor();
  return isLaunched ? client : foreground;
}

const foreground: Parent = {
  kind: 'foreground',
  handover: null,
  note: (text) => void writeSync(2, `grace: ${text}\n`),
  failed: () => {}, // whoever called runDaemon prints it
  ready: () => Promise.resolve({}),
  serving: () => {},
  moving: null,
  isDead: () => Promise.resolve(false),
};

const client: Parent = {
  kind: 'client',
  handover: null,
  note: (text) => sayIfHeard({ note: text }),
  failed: (failure) => sayIfHeard({ failed: failure }),
  ready: () => Promise.resolve({}),
  serving({ settleStreams }) {
    sayIfHeard({ ready: true });
    settleStreams();
  },
  moving: null,
  isDead: () => Promise.resolve(false),
};

async function meetPredecessor(): Promise<Parent> {
  const messages = readLines(createReadStream('', { fd: 0, autoClose: false }));
  const hear = async (): Promise<unknown> => {
    const { done, value } = await messages.next();
    if (done) throw new GraceError('the daemon that is to be replaced went away');
    return value;
  };
  const { handover } = (await hear()) as { handover: unknown };
  const parsed = parseOrFail(handover);
  const predecessor: Parent = {
    kind: 'predecessor',
    handover: parsed,
    moving: null,
    note: () => {}, // it is in the log; nobody reads the stderr of a successor that serves
    failed: (failure) => sayIfHeard({ failed: failure }),
    async ready({ version, canMove }) {
      const move = canMove && parsed.move === moveFormat;
      if (move) predecessor.moving = { say, hear: () => hear().catch(() => null) };
      say({ ready: { pid: process.pid, version, ...(move ? { move: moveFormat } : {}) } });
      return (await hear()) as Partial<GoMessage>; // go
    },
    serving({ settleStreams }) {
      sayIfHeard({ serving: true });
      if (!predecessor.moving) settleStreams();
    },
    isDead: () => hasDied(parsed.pid),
  };
  return predecessor;
}

/** Who is not told would wait: this process does not even end while it reads from the predecessor. */
function parseOrFail(handover: unknown): Handover {
  try {
    return parseHandover(handover);
  } catch (error) {
    say({ failed: failureOf(error) });
    throw error;
  }
}

/** Written at once: this process may end right afterwards. */
function say(message: LaunchMessage | SuccessorMessage | Parameters<MoveChannel['say']>[0]): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

/** As `say`, to somebody who may be gone: this process goes on all the same. */
function sayIfHeard(message: Parameters<typeof say>[0]): void {
  try {
    say(message);
  } catch {
    // EPIPE: whoever started it has ended.
  }
}

/** Its pipes close a moment before a process that is killed counts as ended; on a busy machine it is a long one. */
const deathTakesMs = 2000;

async function hasDied(pid: number): Promise<boolean> {
  const deadline = performance.now() + deathTakesMs;
  while (isRunning(pid)) {
    if (performance.now() > deadline) return false;
    await delay(5);
  }
  return true;
}
