import { constants, openSync } from 'node:fs';

/**
 * Open a log to add to it; it is made where there is none, for this user alone. Never waits, as the open of a FIFO
 * without a reader would: that is ENXIO. Throws the system's error.
 */
export function openLog(path: string): number {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o600);
}
