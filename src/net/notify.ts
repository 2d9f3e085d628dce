import { Socket } from 'node:net';
import { closeFd, setNonBlocking } from '../sys/descriptor.ts';
import { MAX_FDS_PER_MESSAGE, sendMessage } from '../sys/message.ts';
import { monotonicMicroseconds } from '../sys/process.ts';
import { openSocket, openSocketPair, setSendTimeout } from '../sys/socket.ts';
import { within } from '../waiting.ts';
import type { Environment } from './inherit.ts';

/**
 * Speaks to the service manager (sd_notify(3)) over its datagram socket. A message that cannot be sent
 * is lost without an error: a service must not fail because its manager does not listen.
 */
export type Notifier = {
  /** Half the time within which the manager wants a {@link watchdog} message, in milliseconds; null: it wants none. */
  readonly watchdogIntervalMs: number | null;
  /** Start-up, or the reload begun by {@link reloading}, is finished. */
  ready(options?: { status?: string; mainPid?: number }): void;
  /** A reload begins; {@link ready} ends it. */
  reloading(options?: { status?: string }): void;
  /** The service is on its way to its end. */
  stopping(options?: { status?: string }): void;
  /** One line for people. */
  status(text: string): void;
  /** The service's main process is another one from now on. */
  mainPid(pid: number): void;
  watchdog(): void;
  /** What goes on may take so much longer than the unit's time limit. */
  extendTimeout(milliseconds: number): void;
  /** Keep descriptors for the next start of the service, which finds them in LISTEN_FDS by their name. */
  storeFds(fds: readonly number[], options: { name: string }): void;
  /** Forget the stored descriptors of that name. */
  removeFds(options: { name: string }): void;
  /** Resolves when the manager has read everything sent before (BARRIER, systemd 246), or when `timeoutMs` has passed. */
  barrier(options?: { timeoutMs?: number }): Promise<void>;
};

/**
 * Speak to the manager that NOTIFY_SOCKET names, a path or with a leading `@` an abstract name; null
 * without one. The variable stays, since a successor has to speak as well; remove it for children
 * that must not.
 */
export function openNotifier(env: Environment = process.env): Notifier | null {
  const target = env['NOTIFY_SOCKET'];
  if (target === undefined || !/^[/@]./.test(target)) return null;
  const send = (lines: readonly string[], fds: readonly number[] = []): boolean =>
    sendTo(target, lines, { fds, waits: true });
  // What is said again soon is not worth a wait.
  const sendOrForget = (lines: readonly string[]): boolean => sendTo(target, lines, { fds: [], waits: false });
  const status = (text: string | undefined): string[] => (text === undefined ? [] : [`STATUS=${oneLine(text)}`]);
  return {
    watchdogIntervalMs: watchdogInterval(env),
    ready: (options) => {
      send([
        'READY=1',
        ...(options?.mainPid === undefined ? [] : [`MAINPID=${options.mainPid}`]),
        ...status(options?.status),
      ]);
    },
    // The time lets the manager tell this reload from an earlier one (Type=notify-reload).
    reloading: (options) => {
      send(['RELOADING=1', `MONOTONIC_USEC=${monotonicMicroseconds()}`, ...status(options?.status)]);
    },
    stopping: (options) => {
      send(['STOPPING=1', ...status(options?.status)]);
    },
    status: (text) => {
      sendOrForget(status(text));
    },
    mainPid: (pid) => {
      send([`MAINPID=${pid}`]);
    },
    watchdog: () => {
      sendOrForget(['WATCHDOG=1']);
    },
    extendTimeout: (milliseconds) => {
      send([`EXTEND_TIMEOUT_USEC=${Math.round(milliseconds * 1000)}`]);
    },
    storeFds: (fds, { name }) => {
      for (let i = 0; i < fds.length; i += MAX_FDS_PER_MESSAGE) {
        send(['FDSTORE=1', `FDNAME=${oneLine(name)}`], fds.slice(i, i + MAX_FDS_PER_MESSAGE));
      }
    },
    removeFds: ({ name }) => {
      send(['FDSTOREREMOVE=1', `FDNAME=${oneLine(name)}`]);
    },
    barrier: ({ timeoutMs = 5000 } = {}) => waitForBarrier((fd) => send(['BARRIER=1'], [fd]), timeoutMs),
  };
}

const SEND_TIMEOUT_MS = 500;

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, ' ');
}

function sendTo(
  target: string,
  lines: readonly string[],
  { fds, waits }: { fds: readonly number[]; waits: boolean },
): boolean {
  let fd: number | null = null;
  try {
    fd = openSocket('unix', 'datagram');
    // A manager that is busy for a moment must not cost us the READY; one that hangs must not hang us.
    if (waits) {
      setNonBlocking(fd, false);
      setSendTimeout(fd, SEND_TIMEOUT_MS);
    }
    const path = target.startsWith('@') ? `\0${target.slice(1)}` : target;
    sendMessage(fd, new TextEncoder().encode(lines.join('\n')), { fds, to: { family: 'unix', path }, wait: waits });
    return true;
  } catch {
    // The manager is gone or too busy, or there is no descriptor left; the service goes on.
    return false;
  } finally {
    if (fd !== null) closeFd(fd);
  }
}

/** The manager closes its copy of the descriptor when it has come to it, which hangs up the other end. */
async function waitForBarrier(send: (fd: number) => boolean, timeoutMs: number): Promise<void> {
  const pair = openPairIfPossible();
  if (pair === null) return;
  const [ours, theirs] = pair;
  const isSent = send(theirs);
  closeFd(theirs);
  const socket = new Socket({ fd: ours, readable: true, writable: false });
  if (isSent) {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    socket
      .on('error', () => {})
      .resume()
      .once('close', () => resolve());
    await within(closed, timeoutMs);
  }
  socket.destroy();
}

function openPairIfPossible(): [number, number] | null {
  try {
    return openSocketPair();
  } catch {
    return null; // no descriptor left; a barrier is a courtesy
  }
}

/** WATCHDOG_USEC is the limit; half of it is the interval that sd_watchdog_enabled(3) recommends. */
function watchdogInterval(env: Environment): number | null {
  const { WATCHDOG_USEC: limit, WATCHDOG_PID: pid } = env;
  if (limit === undefined || !/^[1-9][0-9]*$/.test(limit)) return null;
  if (pid !== undefined && pid !== String(process.pid)) return null;
  return Math.max(1, Number(limit) / 2000);
}
