import type { LaunchMessage } from '../control/launch.ts';
import { errorCode } from '../error.ts';
import { canWrite, writeFd } from '../sys/descriptor.ts';
import type { MoveChannel, SuccessorMessage } from './handover/messages.ts';

/** How long whoever started this process may leave unread what it is told, in milliseconds, before it counts as gone. */
export const patienceMs = 10_000;

/** What is said there. */
export type StandardOutputMessage = LaunchMessage | SuccessorMessage | Parameters<MoveChannel['send']>[0];

/**
 * Say something to whoever started this process, on standard output. Written at once, since this process may end
 * right afterwards; one that does not read so much is waited for. Throws what the system says, and when it is late.
 */
export function send(message: StandardOutputMessage, { waitMs = patienceMs }: { waitMs?: number } = {}): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < bytes.length;) {
    if (!canWrite(1, waitMs)) throw new Error('whoever started this process does not read what it says');
    try {
      at += writeFd(1, bytes.subarray(at));
    } catch (error) {
      // Another process that has the same pipe may have made it one that nobody waits for.
      if (errorCode(error) !== 'EAGAIN') throw error;
    }
  }
}

/** As `send`, to somebody who may be gone: this process goes on all the same. Returns whether it was said. */
export function sendIfHeard(message: StandardOutputMessage, options: { waitMs?: number } = {}): boolean {
  try {
    send(message, options);
    return true;
  } catch {
    return false; // EPIPE: whoever started it has ended
  }
}
