/**
 * Writes an ELF executable anew with nothing in it but what the system loads: no symbols for
 * debuggers, no section headers, and no pages that are known to be free. Addresses do not change, so
 * no code has to; only the places in the file do (elf(5); 64 bit, little-endian).
 */
import type { FreeRange } from './icu.ts';

type Segment = {
  type: number;
  flags: number;
  offset: number;
  address: number;
  fileSize: number;
  memorySize: number;
  alignment: number;
};

const PT_LOAD = 1;
const PT_PHDR = 6;
const segmentSize = 56;
/** The largest page of the machines that grace runs on (arm64). */
const pageSize = 0x10000;

/**
 * The executable without what is not loaded and without the pages inside `free`. Throws for a file that is laid
 * out in a way that this does not know.
 */
export function compactElf(file: Buffer, free: FreeRange): Buffer {
  if (file.readUInt32BE() !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1)
    throw new Error('not a 64-bit little-endian ELF file');
  const oldTableAt = Number(file.readBigUInt64LE(32));
  const segments = Array.from({ length: file.readUInt16LE(56) }, (_, index) =>
    readSegment(file, oldTableAt + index * segmentSize),
  );
  // The table of segments grows by one; the beginning of what is free is where it has room.
  const tableAt = Math.ceil(free.start / 8) * 8;
  const tableSize = (segments.length + 1) * segmentSize;
  const divided = segments.flatMap((segment) =>
    segment.type === PT_LOAD ? cutOut(segment, { start: tableAt + tableSize, end: free.end }) : [segment],
  );

  // What was added to the file for the bundle may be aligned for smaller pages than the rest.
  const alignment = Math.max(...segments.filter(({ type }) => type === PT_LOAD).map((segment) => segment.alignment));
  const moved: { from: Segment; to: number }[] = [];
  let size = 0;
  for (const segment of divided.filter(({ type }) => type === PT_LOAD)) {
    const to = size + mod(segment.address - size, alignment);
    moved.push({ from: segment, to });
    size = to + segment.fileSize;
  }
  const place = (offset: number, length: number): number => {
    const home = moved.find(({ from }) => offset >= from.offset && offset + length <= from.offset + from.fileSize);
    if (!home) throw new Error(`bytes ${offset} to ${offset + length} of the file are needed and in no loaded segment`);
    return offset - home.from.offset + home.to;
  };

  const newTableAt = place(tableAt, tableSize);
  const tableAddress = addressOf(segments, tableAt);
  // Linux before 5.18 and qemu believe that the table is as far from the first segment in memory as in the file.
  if (tableAddress - newTableAt !== moved[0]!.from.address - moved[0]!.to)
    throw new Error('the table of segments would not be found in memory');

  const newPlace = (segment: Segment): Partial<Segment> => {
    const load = moved.find(({ from }) => from === segment);
    if (load) return { offset: load.to, alignment };
    return { offset: segment.fileSize === 0 ? 0 : place(segment.offset, segment.fileSize) };
  };
  const table = Buffer.alloc(tableSize);
  for (const [index, segment] of divided.entries()) {
    table.set(
      encodeSegment(
        segment.type === PT_PHDR
          ? { ...segment, offset: newTableAt, address: tableAddress, fileSize: tableSize, memorySize: tableSize }
          : { ...segment, ...newPlace(segment) },
      ),
      index * segmentSize,
    );
  }
  const output = Buffer.alloc(size);
  for (const { from, to } of moved) file.copy(output, to, from.offset, from.offset + from.fileSize);
  table.copy(output, newTableAt);
  output.writeBigUInt64LE(BigInt(newTableAt), 32);
  output.writeUInt16LE(divided.length, 56);
  output.fill(0, 40, 48); // no section headers: where, how many, and which one names them
  output.fill(0, 60, 64);
  return output;
}

/** A segment without the whole pages of a free range: itself, or the parts before and after. */
function cutOut(segment: Segment, free: FreeRange): Segment[] {
  const { offset, address, fileSize, memorySize } = segment;
  if (free.start < offset || free.end > offset + fileSize) return [segment];
  const start = Math.ceil((address + free.start - offset) / pageSize) * pageSize;
  const end = Math.floor((address + free.end - offset) / pageSize) * pageSize;
  if (end <= start) return [segment];
  const before = start - address;
  const after = end - address;
  return [
    { ...segment, fileSize: before, memorySize: before },
    { ...segment, offset: offset + after, address: end, fileSize: fileSize - after, memorySize: memorySize - after },
  ];
}

function readSegment(file: Buffer, at: number): Segment {
  const word = (offset: number): number => Number(file.readBigUInt64LE(at + offset));
  return {
    type: file.readUInt32LE(at),
    flags: file.readUInt32LE(at + 4),
    offset: word(8),
    address: word(16),
    fileSize: word(32),
    memorySize: word(40),
    alignment: word(48),
  };
}

function encodeSegment(segment: Segment): Buffer {
  const entry = Buffer.alloc(segmentSize);
  entry.writeUInt32LE(segment.type, 0);
  entry.writeUInt32LE(segment.flags, 4);
  const words = [
    segment.offset,
    segment.address,
    segment.address,
    segment.fileSize,
    segment.memorySize,
    segment.alignment,
  ];
  words.forEach((word, index) => entry.writeBigUInt64LE(BigInt(word), 8 + index * 8));
  return entry;
}

/** Where in memory a byte of the file is. */
function addressOf(segments: readonly Segment[], offset: number): number {
  const home = segments.find(
    (each) => each.type === PT_LOAD && offset >= each.offset && offset < each.offset + each.fileSize,
  );
  if (!home) throw new Error('the free range is in no loaded segment');
  return home.address + offset - home.offset;
}

function mod(value: number, by: number): number {
  return ((value % by) + by) % by;
}
