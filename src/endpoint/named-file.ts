import { closeSync, fstatSync, readdirSync, readSync, realpathSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errorCode, errorMessage } from '../error.ts';
import { decodeName, fsPath } from '../sys/file-name.ts';
import { NotAFileError, openRegularFile } from '../sys/regular-file.ts';
import { EndpointError, quoted } from './error.ts';
import { type Certificate, certificateBlocks, readCertificate } from './pem.ts';

/** A file or directory that a parameter of an endpoint names. */
export type NamedFile = {
  parameter: string;
  /** Relative to the working directory. */
  path: string;
  /** The endpoint, for messages. */
  text: string;
};

/** Bytes of the largest file that is read, unless it is said otherwise: all authorities of a system take a quarter of it. */
const maxFile = 1 << 20;

/** How large a file may be, and what is said of a larger one. */
export type TextLimit = { maxBytes: number; what: string };
const keyFile: TextLimit = { maxBytes: maxFile, what: 'which no file of keys or certificates is' };
/** Most entries of a directory, those below it included. */
const maxEntries = 10_000;

/** The error for a file that a parameter names: the parameter, the absolute path, and what is wrong with it. */
export function fileError(
  { parameter, path, text }: NamedFile,
  problem: string,
  { hint, cause }: { hint?: string | undefined; cause?: unknown } = {},
): EndpointError {
  return new EndpointError(`${parameter} ${quoted(resolve(path))}: ${problem}`, { text, hint, cause });
}

/** The names in a directory, sorted; with `recursive` those below it too, links followed, no directory entered twice. */
export function listDirectory(directory: NamedFile, { recursive = false }: { recursive?: boolean } = {}): string[] {
  const top = resolve(directory.path);
  const found: string[] = [];
  const entered = new Set<string>();
  const enter = (below: string) => {
    const path = join(top, below);
    // A link may lead back up.
    // The other realpathSync takes its path for UTF-8.
    const real = decodeName(Buffer.from(realpathSync.native(fsPath(path), 'buffer')));
    if (entered.has(real)) return;
    entered.add(real);
    for (const name of readdirSync(fsPath(path), { encoding: 'buffer' }).map(decodeName).sort()) {
      const each = join(below, name);
      found.push(each);
      if (found.length > maxEntries)
        throw fileError(directory, `more than ${maxEntries} files in it`, {
          hint: 'name a directory that holds certificates alone',
        });
      if (recursive && isDirectory(join(top, each))) tryToEnter(each);
    }
  };
  const tryToEnter = (below: string) => {
    try {
      enter(below);
    } catch (error) {
      if (error instanceof EndpointError) throw error; // others: not ours to read, or gone in the meantime
    }
  };
  try {
    enter('');
  } catch (error) {
    throw error instanceof EndpointError ? error : accessError(directory, error);
  }
  return found.sort();
}

function isDirectory(path: string): boolean {
  try {
    return statSync(fsPath(path)).isDirectory();
  } catch {
    return false; // a link to nothing
  }
}

/**
 * The text of a file. Only of a file: opening a FIFO or a device may wait for ever, or never come to an
 * end. Throws EndpointError that names parameter and file.
 */
export function readText(file: NamedFile, limit: TextLimit = keyFile): string {
  return readBytes(file, limit).toString('utf8');
}

/** The same of a file that is no text. */
export function readBytes(file: NamedFile, limit: TextLimit = keyFile): Buffer {
  try {
    const fd = openRegularFile(resolve(file.path));
    try {
      return readWhole(file, fd, limit);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw error instanceof EndpointError ? error : accessError(file, error);
  }
}

function readWhole(file: NamedFile, fd: number, { maxBytes, what }: TextLimit): Buffer {
  // Files of /proc have no size.
  const buffer = Buffer.alloc(Math.min(fstatSync(fd).size || 65536, maxBytes) + 1);
  let length = 0;
  for (let read = -1; read !== 0 && length < buffer.length; length += read)
    read = readSync(fd, buffer, length, buffer.length - length, null);
  if (length > maxBytes) throw fileError(file, `larger than ${maxBytes} bytes, ${what}`);
  return buffer.subarray(0, length);
}

function accessError(file: NamedFile, error: unknown): EndpointError {
  if (error instanceof NotAFileError)
    return fileError(file, error.message, {
      hint: error.isDirectory ? undefined : 'copy what it gives into a file, and name that',
    });
  const code = errorCode(error) ?? '';
  const problem = new Map([
    ['ENOENT', 'file not found'],
    ['EACCES', 'permission denied'],
    ['ENOTDIR', 'not a directory'],
    ['EISDIR', 'a directory, not a file'],
    ['ELOOP', 'a link that leads to itself'],
    ['ENXIO', 'a socket or a device, not a file'],
  ]).get(code);
  return fileError(file, problem ?? errorMessage(error), { cause: error });
}

/** The certificates of a text, in order, every one readable. */
export function readCertificates(file: NamedFile, text: string): Certificate[] {
  return certificateBlocks(text).map((pem, index) => {
    try {
      return readCertificate(pem);
    } catch (error) {
      throw fileError(file, `bad PEM: certificate ${index + 1} is damaged`, { cause: error });
    }
  });
}
