/**
 * Imported first by the entrances of the library, which are compiled to what older runtimes can parse: there
 * an import ends with a sentence instead of a syntax error.
 */
import { GraceError } from '../error.ts';

const NODE_MAJOR = 26;
const DENO_MINOR = 9; // of 2

/**
 * What is wrong with a runtime, or null: without node:ffi or Deno's FFI, sockets cannot be inherited.
 *
 * @param versions as `process.versions` has them
 */
export function findRuntimeFault(versions: Readonly<Record<string, string | undefined>>): string | null {
  const { node = '', deno, bun } = versions;
  const [major = 0, minor = 0] = (deno ?? node).split('.').map(Number);
  const isFit =
    deno !== undefined ? major > 2 || (major === 2 && minor >= DENO_MINOR) : bun === undefined && major >= NODE_MAJOR;
  if (isFit) return null;
  const name = deno !== undefined ? `Deno ${deno}` : bun !== undefined ? `Bun ${bun}` : `Node ${node}`;
  return `grace needs Node ${NODE_MAJOR} or newer, or Deno 2.${DENO_MINOR} or newer, and this is ${name}`;
}

const fault = findRuntimeFault({ ...process.versions });
if (fault !== null) {
  const error = new GraceError(fault, { code: 'ERR_GRACE_RUNTIME' });
  error.stack = `${error.name}: ${error.message}`; // where it was thrown says nothing to who reads it
  throw error;
}
