/**
 * Files that grace reads by itself. Whatever lies under their names, nobody may be kept waiting: to open a FIFO
 * waits for a writer, for ever if need be, and some devices never come to an end.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { fsPath } from './file-name.ts';

/** Something else lies where a file is expected; the message says what: `a named pipe (FIFO), not a file`. */
export class NotAFileError extends Error {
  readonly isDirectory: boolean;

  constructor(stats: Stats) {
    super(`${kindOf(stats)}, not a file`);
    this.name = 'NotAFileError';
    this.isDirectory = stats.isDirectory();
  }
}

/** Open a file for reading, links followed. The caller closes it. Throws NotAFileError, or what the system says. */
export function openRegularFile(path: string): number {
  // To open some devices is to do something already.
  mustBeFile(statSync(fsPath(path)));
  // And if it is another by now, it is not waited for.
  const fd = openSync(fsPath(path), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0));
  try {
    mustBeFile(fstatSync(fd));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** The text of a file. Throws NotAFileError, or what the system says. */
export function readRegularFile(path: string): string {
  const fd = openRegularFile(path);
  try {
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function mustBeFile(stats: Stats): void {
  if (!stats.isFile()) throw new NotAFileError(stats);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a named pipe (FIFO)';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}
