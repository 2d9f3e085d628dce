/** Addresses and networks that `allow` and `deny` name, and the files of them (`@FILE`), as sorted ranges of numbers. */
import { statSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { errorCode } from '../error.ts';
import { fsPath } from '../sys/file-name.ts';
import { encodeSockaddr } from '../sys/sockaddr.ts';
import { quoted } from './error.ts';
import { fileError, readText } from './named-file.ts';
import type { NamedFile } from './named-file.ts';

/**
 * Ranges that do not overlap, in order: of IPv4 two 32-bit numbers each, the first address and the
 * last; of IPv6 eight, most significant first.
 */
export type Networks = { readonly ipv4: Uint32Array; readonly ipv6: Uint32Array };

/** First and last address, as 32-bit numbers, most significant first. */
type Range = { readonly first: readonly number[]; readonly last: readonly number[] };

/** Bytes of the largest file: a million networks. */
const maxFile = 32 << 20;

/** `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32` as a range; null for anything else. IPv4 in IPv6's form is IPv4. */
export function parseNetwork(text: string): Range | null {
  const [, address = '', length] = /^([^/%]*)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  const width = version === 4 ? 32 : 128;
  const bits = length === undefined ? width : Number(length);
  if (version === 0 || bits > width) return null;
  const words = version === 4 ? [ipv4Word(address)] : ipv6Words(address);
  const isMapped = version === 6 && bits >= 96 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
  return isMapped ? rangeOf(words.slice(3), bits - 96) : rangeOf(words, bits);
}

function rangeOf(words: readonly number[], bits: number): Range {
  const hostMasks = words.map((_, index) => {
    const own = Math.min(Math.max(bits - 32 * index, 0), 32);
    return own === 32 ? 0 : 0xffff_ffff >>> own;
  });
  return {
    first: words.map((word, index) => (word & ~hostMasks[index]!) >>> 0),
    last: words.map((word, index) => (word | hostMasks[index]!) >>> 0),
  };
}

function ipv4Word(host: string): number {
  return host.split('.').reduce((word, part) => word * 256 + Number(part), 0);
}

function ipv6Words(host: string): number[] {
  const view = new DataView(encodeSockaddr({ family: 'inet6', host, port: 0 }).buffer);
  return [8, 12, 16, 20].map((at) => view.getUint32(at));
}

/** Whether an element of a list names a file: `@FILE`. */
export function isFileOfNetworks(item: string): boolean {
  return item.startsWith('@');
}

/** The files that a list names. */
export function filesOfNetworks(items: readonly string[]): string[] {
  return items.filter(isFileOfNetworks).map((item) => item.slice(1));
}

/** Tells one state of these files from another, as far as the system can: also where a link leads elsewhere. */
export function stampOfFiles(paths: readonly string[]): string {
  return paths
    .map((path) => {
      try {
        const { dev, ino, size, mtimeMs, ctimeMs } = statSync(fsPath(resolve(path)));
        return [dev, ino, size, mtimeMs, ctimeMs].join();
      } catch (error) {
        return errorCode(error) ?? '';
      }
    })
    .join(' ');
}

/**
 * All networks of a list, those of its files included: there one a line, what follows a `#` being a remark.
 * `parameter` and `text` are for errors: throws EndpointError for a file that is missing or has a line that is no network.
 */
export function readNetworks(items: readonly string[], about: Omit<NamedFile, 'path'>): Networks {
  const ranges = items.flatMap((item) =>
    isFileOfNetworks(item) ? readFile({ ...about, path: item.slice(1) }) : (parseNetwork(item) ?? []),
  );
  return { ipv4: packed(ranges, 1), ipv6: packed(ranges, 4) };
}

function readFile(file: NamedFile): Range[] {
  return readText(file, { maxBytes: maxFile, what: 'which no list of networks is' })
    .split('\n')
    .flatMap((line, index) => {
      const [item = ''] = line.split('#');
      if (item.trim() === '') return [];
      const range = parseNetwork(item.trim());
      if (range !== null) return range;
      throw fileError(
        file,
        `line ${index + 1}: ${quoted(item.trim().slice(0, 60))} is neither an address nor a network`,
        {
          hint: 'one a line, such as 10.0.0.0/8 or 192.0.2.1; what follows a # is a remark',
        },
      );
    });
}

/** Those whose addresses have so many words, sorted, with those that overlap or touch made one. */
function packed(ranges: readonly Range[], words: number): Uint32Array {
  const sorted = ranges.filter(({ first }) => first.length === words).sort((a, b) => compare(a.first, b.first));
  const merged: Range[] = [];
  for (const range of sorted) {
    const previous = merged.at(-1);
    if (previous === undefined || compare(range.first, after(previous.last)) > 0) merged.push(range);
    else if (compare(range.last, previous.last) > 0)
      merged[merged.length - 1] = { first: previous.first, last: range.last };
  }
  // Threads look there too.
  const numbers = new Uint32Array(new SharedArrayBuffer(merged.length * words * 8));
  merged.forEach(({ first, last }, index) => {
    numbers.set(first, index * words * 2);
    numbers.set(last, index * words * 2 + words);
  });
  return numbers;
}

/** The address that follows; after the last one there is none, and it stays. */
function after(words: readonly number[]): readonly number[] {
  const next = [...words];
  for (let index = next.length - 1; index >= 0; index--) {
    if (next[index] !== 0xffff_ffff) {
      next[index]!++;
      return next;
    }
    next[index] = 0;
  }
  return words;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return a[index]! - b[index]!;
  return 0;
}
