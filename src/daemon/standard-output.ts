import { writeSync } from 'node:fs';
import type { LaunchMessage } from '../control/launch.ts';
import type { MoveChannel, SuccessorMessage } from './handover/messages.ts';

/** Say something to whoever started this process, on standard output. Written at once: this process may end right afterwards. */
export function send(message: LaunchMessage | SuccessorMessage | Parameters<MoveChannel['send']>[0]): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

/** As `send`, to somebody who may be gone: this process goes on all the same. */
export function sendIfHeard(message: Parameters<typeof send>[0]): void {
  try {
    send(message);
  } catch {
    // EPIPE: whoever started it has ended.
  }
}
