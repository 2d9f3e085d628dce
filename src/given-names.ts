/** File names that came from outside as bytes, of which the runtimes have made texts. */
import { readFileSync, readlinkSync } from 'node:fs';
import { ownArguments } from './net/invocation.ts';
import { decodeName } from './sys/file-name.ts';

/** What the runtimes write in the place of bytes that are not UTF-8. */
const replacement = '\uFFFD';

/** The program's own arguments; names in them that are not UTF-8 are kept as they are, where the system tells. */
export function givenArguments(): string[] {
  const decoded = ownArguments();
  if (!decoded.some((each) => each.includes(replacement))) return decoded;
  try {
    const all = splitAtNul(readFileSync('/proc/self/cmdline')).map(decodeName);
    return all.slice(all.length - decoded.length);
  } catch {
    return decoded; // no /proc on this system
  }
}

/** The working directory, whose name `known` is. */
export function workingDirectory(known: string): string {
  if (!known.includes(replacement)) return known;
  try {
    return decodeName(readlinkSync('/proc/self/cwd', { encoding: 'buffer' }));
  } catch {
    return known;
  }
}

/** Each text of a list ends with a NUL. */
export function splitAtNul(bytes: Buffer): Buffer[] {
  const items: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(0, at);
    const to = end === -1 ? bytes.length : end;
    items.push(bytes.subarray(at, to));
    at = to + 1;
  }
  return items;
}
