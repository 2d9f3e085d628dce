import { closeSync, openSync } from 'node:fs';
import { dupFdOnto } from '../sys/descriptor.ts';

/** Standard input from nowhere, standard output and error into the log: what a crash prints is found there. */
export function redirectToLog(logFile: string): void {
  const nowhere = openSync('/dev/null', 'r');
  const log = openSync(logFile, 'a', 0o600);
  dupFdOnto(nowhere, 0);
  dupFdOnto(log, 1);
  dupFdOnto(log, 2);
  closeSync(nowhere);
  closeSync(log);
}
