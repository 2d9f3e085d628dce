import { closeSync, openSync } from 'node:fs';
import { dupFdOnto } from '../sys/descriptor.ts';
import { openLog } from './open-log.ts';

/** Standard input from nowhere, standard output and error to where `fd` leads. */
export function redirectTo(fd: number): void {
  const nowhere = openSync('/dev/null', 'r');
  dupFdOnto(nowhere, 0);
  dupFdOnto(fd, 1);
  dupFdOnto(fd, 2);
  closeSync(nowhere);
}

/** Standard input from nowhere, standard output and error into the log: what a crash prints is found there. */
export function redirectToLog(logFile: string): void {
  const log = openLog(logFile);
  try {
    redirectTo(log);
  } finally {
    closeSync(log);
  }
}
