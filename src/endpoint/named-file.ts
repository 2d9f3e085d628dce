import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorCode, errorMessage } from '../error.ts';
import { fsPath } from '../sys/file-name.ts';
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

export function fileError({ parameter, path, text }: NamedFile, problem: string, { hint, cause }: { hint?: string | undefined; cause?: unknown } = {}): EndpointError {
  return new EndpointError(`${parameter} ${quoted(resolve(path))}: ${problem}`, { text, hint, cause });
}

export function listDirectory(directory: NamedFile, options: { recursive?: boolean } = {}): string[] {
  try {
    return readdirSync(fsPath(resolve(directory.path)), { recursive: options.recursive ?? false, encoding: 'utf8' }).sort();
  } catch (error) {
    throw accessError(directory, error);
  }
}

/** The text of a file. Throws EndpointError that names parameter and file. */
export function readText(file: NamedFile): string {
  try {
    return readFileSync(fsPath(resolve(file.path)), 'utf8');
  } catch (error) {
    throw accessError(file, error);
  }
}

function accessError(file: NamedFile, error: unknown): EndpointError {
  const code = errorCode(error) ?? '';
  const problem = new Map([
    ['ENOENT', 'file not found'],
    ['EACCES', 'permission denied'],
    ['ENOTDIR', 'not a directory'],
    ['EISDIR', 'a directory, not a file'],
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
