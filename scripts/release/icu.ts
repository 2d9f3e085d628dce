/**
 * Takes out of Node's binary the data of ICU that grace has no use for: 33 MB of locales, converters
 * and dictionaries, of which English and what has no language is left. That is what Node itself
 * is with `--with-intl=small-icu`. Code is not touched.
 *
 * The data is one package (format "CmnD"): a header, a table of contents sorted by name with offsets
 * from its own beginning, and the items (ICU, source/common/ucmndata.h and unicode/udata.h).
 */

/** A range of bytes in a file that nothing refers to any more. */
export type FreeRange = { start: number; end: number };

type Item = { name: string; offset: number; size: number };

/** Items are aligned so, from the beginning of the table of contents. */
const alignment = 16;

const keptLocales = new Set(['en', 'en_001', 'en_US', 'en_US_POSIX']);

/**
 * Repack the package inside a binary, in place. Returns the range that became free, filled with
 * zeros. Throws when the binary holds no such package, or more than one.
 */
export function trimIcu(binary: Buffer): FreeRange {
  const header = findPackage(binary);
  const base = header + binary.readUInt16LE(header);
  const items = readContents(binary, base);
  const last = items.at(-1)!; // its size is written nowhere, so its bytes stay what they are
  const kept = items.slice(0, -1).filter(({ name }) => isNeeded(name));
  const contents = writeContents(kept);
  const parts = kept.map(({ offset, size }) => Buffer.from(binary.subarray(base + offset, base + offset + size)));
  const packed = Buffer.concat([
    contents,
    ...parts.flatMap((part) => [part, Buffer.alloc(roundUp(part.length) - part.length)]),
  ]);
  if (packed.length > last.offset) throw new Error('the trimmed data of ICU is larger than the whole');
  packed.copy(binary, base);
  binary.fill(0, base + packed.length, base + last.offset);
  return { start: base + packed.length, end: base + last.offset };
}

/** Whether an item, `icudt78l/coll/de.res` for one, stays. */
function isNeeded(fullName: string): boolean {
  const name = fullName.replace(/^[^/]*\//, '');
  if (/\.(cnv|dict|spp|cfu)$/.test(name) || name.startsWith('translit/') || name === 'unames.icu') return false;
  const locale = /(?:^|\/)([a-z]{2,3}(?:_[A-Za-z0-9_]+)?)\.res$/.exec(name)?.[1];
  return locale === undefined || keptLocales.has(locale);
}

function findPackage(binary: Buffer): number {
  const found: number[] = [];
  for (let at = binary.indexOf('CmnD'); at >= 0; at = binary.indexOf('CmnD', at + 1)) {
    // Before the name of the format: size of the header, a magic number, eight bytes of description.
    if (binary[at - 10] === 0xda && binary[at - 9] === 0x27) found.push(at - 12);
  }
  if (found.length !== 1)
    throw new Error(`expected the data of ICU once in the binary, and found it ${found.length} times`);
  return found[0]!;
}

/** Items by their full names (`icudt78l/coll/de.res`), in the order of the table. */
function readContents(binary: Buffer, base: number): Item[] {
  const entries = Array.from({ length: binary.readUInt32LE(base) }, (_, index) => {
    const entry = base + 4 + index * 8;
    const name = base + binary.readUInt32LE(entry);
    return { name: binary.toString('latin1', name, binary.indexOf(0, name)), offset: binary.readUInt32LE(entry + 4) };
  });
  return entries.map(({ name, offset }, index) => ({
    name,
    offset,
    size: (entries[index + 1]?.offset ?? offset) - offset,
  }));
}

/** The table of contents of a package of these items, to be followed by them, each at a multiple of the alignment. */
function writeContents(items: readonly Item[]): Buffer {
  const names = Buffer.from(items.map(({ name }) => `${name}\0`).join(''), 'latin1');
  const table = Buffer.alloc(roundUp(4 + items.length * 8 + names.length));
  table.writeUInt32LE(items.length);
  let nameAt = 4 + items.length * 8;
  names.copy(table, nameAt);
  let itemAt = table.length;
  for (const [index, { name, size }] of items.entries()) {
    table.writeUInt32LE(nameAt, 4 + index * 8);
    table.writeUInt32LE(itemAt, 8 + index * 8);
    nameAt += name.length + 1;
    itemAt += roundUp(size);
  }
  return table;
}

function roundUp(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}
