import { closeFd, dropRuntimeCopy, isOpenFd, setCloseOnExec } from '../sys/descriptor.ts';
import { receiveMessage, sendMessage } from '../sys/message.ts';
import { openSocketPair } from '../sys/socket.ts';
import type { Environment } from './inherit.ts';

/** Number of the descriptor by which a successor gives notice. */
const VARIABLE = 'GRACE_SERVING_FD';

/** What it says; digits and a newline before that are its process id, of whoever started it in our stead. */
const SERVES = 1;

/** A shell that starts its arguments as a program with another parent than ours, says which process that is, and ends. */
export const startAsideScript = `"$0" "$@" & echo $! >&$${VARIABLE}`;

/**
 * Tells the SIGTERM of a successor that serves from anybody else's: the successor gives notice before
 * it signals. A signal alone says neither who sent it nor why, and a process that is told to stop while
 * its successor starts would leave that one behind.
 */
export type ServingNotice = {
  /** The successor's end; {@link closeGiven} once it has been passed on. */
  readonly given: number;
  /** Whether the successor has said that it serves. */
  hasCome(): boolean;
  /** Process id of a successor that was started aside; null before it is known. */
  startedAs(): number | null;
  closeGiven(): void;
  close(): void;
};

/** @throws SystemError when there is no descriptor left. */
export function openServingNotice(): ServingNotice {
  const [ours, given] = openSocketPair();
  let hasCome = false;
  let heard = '';
  let isOpen = true;
  let isGivenOpen = true;
  const closeGiven = (): void => {
    if (isGivenOpen) closeFd(given);
    isGivenOpen = false;
  };
  const listen = (): void => {
    // Nothing when it is closed: its end without a word.
    const data = isOpen ? receiveMessage(ours, { size: 32 })?.data : undefined;
    if (data === undefined) return;
    hasCome ||= data.includes(SERVES);
    heard += new TextDecoder().decode(data);
  };
  return {
    given,
    hasCome() {
      listen();
      return hasCome;
    },
    startedAs() {
      listen();
      const [, pid] = /^([1-9][0-9]*)\n/.exec(heard) ?? [];
      return pid === undefined ? null : Number(pid);
    },
    closeGiven,
    close() {
      closeGiven();
      if (isOpen) closeFd(ours);
      isOpen = false;
    },
  };
}

/** The environment variable by which a successor knows where to give notice. */
export function noticeVariable(fd: number): Record<string, string> {
  return { [VARIABLE]: String(fd) };
}

/**
 * How this process gives notice to the predecessor that started it; null when that one does not wait for it.
 * The variable is removed, and not looked at unless it `isMeant` for this process.
 */
export function takeServingNotice(env: Environment, { isMeant }: { isMeant: boolean }): { give(): void } | null {
  const value = env[VARIABLE];
  delete env[VARIABLE];
  if (!isMeant || value === undefined || !/^[1-9][0-9]{0,5}$/.test(value)) return null;
  const fd = Number(value);
  if (fd < 3 || !isOpenFd(fd)) return null;
  dropRuntimeCopy(fd);
  setCloseOnExec(fd, true);
  let isGiven = false;
  return {
    give() {
      if (isGiven) return;
      isGiven = true;
      try {
        sendMessage(fd, Uint8Array.of(SERVES));
      } catch {
        // It has ended, or what the variable named is no socket: then nobody waits.
      }
      closeFd(fd);
    },
  };
}
