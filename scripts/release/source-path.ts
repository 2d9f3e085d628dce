/**
 * An executable holds the path of the file that its program was read from, for stack traces. It would
 * make the executable depend on the directory that it is built in, so the program is read from a path of always the
 * same length, which is then written over.
 */
import { join } from 'node:path';

const length = 160;
const name = 'grace.cjs';

/** Where to put the program, in a directory that is to be made below a fresh one. */
export function placeOfSource(directory: string): string {
  const padding = length - join(directory, 'x', name).length + 1;
  if (padding < 1) throw new Error(`the path of the temporary directory is too long: ${directory}`);
  return join(directory, 'x'.repeat(padding), name);
}

/** Write over the path in an executable, in place. */
export function hideSource(executable: Buffer, path: string): void {
  const bytes = Buffer.from(path);
  const at = executable.indexOf(bytes);
  if (at < 0 || executable.indexOf(bytes, at + 1) >= 0) throw new Error(`expected ${path} once in the executable`);
  executable.write(name.padStart(bytes.length, '/'), at);
}
