/**
 * Makes Node's Linux binary do without libatomic.so.1, which it links since Node 25 and which hardly
 * any system has installed. It takes one function from there, the compare-and-exchange of which
 * the compiler did not know that the value is aligned (V8's tables of entries: it is, and has 8 bytes).
 * That function is written into the executable, where its code has room before the next page, and the
 * need of the library is taken out (elf(5) and the psABI of either machine; 64 bit, little-endian).
 *
 * Nothing is taken for granted: a Node that takes another function from there, or calls this one with
 * anything but the constant 8 as the size, makes the build fail.
 */

const library = 'libatomic.so.1';
const imported = '__atomic_compare_exchange';

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PF_X = 1;
const ET_EXEC = 2;
const DT = {
  needed: 1,
  pltRelocationsSize: 2,
  strings: 5,
  symbols: 6,
  relocations: 7,
  relocationsSize: 8,
  pltRelocations: 23,
  flags1: 0x6ffffffb,
  versionNeeds: 0x6ffffffe,
  versionNeedsCount: 0x6fffffff,
  versions: 0x6ffffff0,
};
const DF_1_NOW = 1;
const SHN_ABS = 0xfff1;
const VER_NDX_GLOBAL = 1;
const relocationSize = 24;
const symbolSize = 24;

type Machine = {
  jumpSlot: number;
  /** bool (size_t size, void *value, void *expected, void *desired, int, int), for a size of 8; a trap for any other. */
  code: Buffer;
  /** Where code jumps or calls through the pointer at `slot`. */
  callSites(text: Text, slot: number): number[];
  /** Whether what comes before a call sets the first argument to 8. */
  passesEight(text: Text, site: number): boolean;
};

/** The executable segment: its bytes, and where they are in memory. */
type Text = { bytes: Buffer; address: number };

const x64: Machine = {
  jumpSlot: 7,
  // cmp $8,%rdi; jne 2f; mov (%rdx),%rax; mov (%rcx),%rcx; lock cmpxchg %rcx,(%rsi); je 1f; mov %rax,(%rdx); 1: sete %al; ret; 2: ud2
  code: Buffer.from('4883ff087514488b02488b09f0480fb10e74034889020f94c0c30f0b', 'hex'),
  callSites({ bytes, address }, slot) {
    const references: number[] = [];
    for (let at = 2; at + 4 <= bytes.length; at++) {
      // Any instruction that names the slot relative to its end, with mod 0 and r/m 5 before the distance.
      if ((bytes[at - 1]! & 0xc7) === 5 && address + at + 4 + bytes.readInt32LE(at) === slot) references.push(at - 2);
    }
    if (references.length !== 1 || bytes.readUInt16LE(references[0]) !== 0x25ff)
      throw new Error(
        `expected one jump through the pointer to ${imported}, and found ${references.length} references`,
      );
    const stub = address + references[0]!;
    const sites: number[] = [];
    for (let at = 1; at + 4 <= bytes.length; at++) {
      if ((bytes[at - 1]! & 0xfe) === 0xe8 && address + at + 4 + bytes.readInt32LE(at) === stub) sites.push(at - 1);
    }
    return sites;
  },
  passesEight({ bytes }, site) {
    const before = bytes.subarray(Math.max(0, site - 64), site);
    const at = before.lastIndexOf(Buffer.from('bf08000000', 'hex')); // mov $8,%edi
    // No call in between, and no other constant.
    return at >= 0 && !before.subarray(at + 5).includes(0xbf) && !before.subarray(at + 5).includes(0xe8);
  },
};

const arm64: Machine = {
  jumpSlot: 1026,
  // cmp x0,#8; b.ne 3f; ldr x6,[x2]; ldr x7,[x3]; 1: ldaxr x8,[x1]; cmp x8,x6; b.ne 2f; stlxr w9,x7,[x1]; cbnz w9,1b; mov w0,#1; ret;
  // 2: clrex; str x8,[x2]; mov w0,#0; ret; 3: brk #8
  code: words(
    [0xf100201f, 0x540001c1, 0xf9400046, 0xf9400067, 0xc85ffc28, 0xeb06011f, 0x540000a1, 0xc809fc27],
    [0x35ffff89, 0x52800020, 0xd65f03c0, 0xd5033f5f, 0xf9000048, 0x52800000, 0xd65f03c0, 0xd4200100],
  ),
  callSites({ bytes, address }, slot) {
    const stubs: number[] = [];
    for (let at = 0; at + 8 <= bytes.length; at += 4) {
      const [first, second] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
      if ((first & 0x9f000000) >>> 0 !== 0x90000000 || (second & 0xffc00000) >>> 0 !== 0xf9400000) continue; // adrp, then ldr of 64 bits
      const page =
        Math.floor((address + at) / 4096) * 4096 +
        ((((((first >>> 5) & 0x7ffff) << 2) | ((first >>> 29) & 3)) << 11) >> 11) * 4096;
      if (((second >>> 5) & 31) === (first & 31) && page + ((second >>> 10) & 0xfff) * 8 === slot)
        stubs.push(address + at);
    }
    if (stubs.length !== 1)
      throw new Error(`expected one jump through the pointer to ${imported}, and found ${stubs.length}`);
    const sites: number[] = [];
    for (let at = 0; at + 4 <= bytes.length; at += 4) {
      const word = bytes.readUInt32LE(at);
      if ((word & 0x7c000000) >>> 0 === 0x14000000 && address + at + ((word << 6) >> 4) === stubs[0]) sites.push(at); // b and bl
    }
    return sites;
  },
  passesEight({ bytes }, site) {
    for (let at = site - 4; at >= Math.max(0, site - 64); at -= 4) {
      const word = bytes.readUInt32LE(at);
      if (word === 0x52800100) return true; // mov w0,#8
      if ((word & 0x7f80001f) === 0x52800000 || (word & 0xfc000000) >>> 0 === 0x94000000) return false; // another constant, or a call
    }
    return false;
  },
};

const machines: Record<number, Machine> = { 62: x64, 183: arm64 };

/**
 * Define in an ELF executable, in place, what it takes from libatomic.so.1, and take out the need of it. A file
 * that needs no such library stays as it is. Throws when it takes something that is not defined here.
 */
export function defineAtomics(file: Buffer): void {
  const elf = readElf(file);
  const need = elf.dynamic.find(({ tag, value }) => tag === DT.needed && elf.string(value) === library);
  if (!need) return;
  const machine = machines[file.readUInt16LE(18)];
  if (!machine) throw new Error(`cannot define ${imported} for the machine ${file.readUInt16LE(18)}`);
  if (file.readUInt16LE(16) !== ET_EXEC) throw new Error('expected an executable with fixed addresses');
  if (!(elf.value(DT.flags1) & DF_1_NOW))
    throw new Error('expected an executable whose functions are bound when it starts');

  const symbol = theSymbol(elf, dropVersionNeed(elf));
  const relocation = theRelocation(elf, symbol, machine);
  const slot = Number(file.readBigUInt64LE(relocation));
  const text = elf.segments.find(({ type, flags }) => type === PT_LOAD && flags & PF_X)!;
  const code = { bytes: file.subarray(text.offset, text.offset + text.fileSize), address: text.address };
  const sites = machine.callSites(code, slot);
  const strange = sites.filter((site) => !machine.passesEight(code, site));
  if (sites.length === 0 || strange.length > 0) {
    const places = strange.map((site) => `0x${(code.address + site).toString(16)}`).join(', ');
    throw new Error(
      `${strange.length} of ${sites.length} calls of ${imported} have another size than 8 (${places}): look at them, and at ${library}`,
    );
  }

  const address = appendCode(elf, text, machine.code);
  file.writeBigUInt64LE(BigInt(address), elf.offset(slot));
  file.writeBigUInt64LE(0n, relocation + 8); // of no type: nothing is looked up
  const entry = elf.offset(elf.value(DT.symbols)) + symbol * symbolSize;
  file.writeUInt16LE(SHN_ABS, entry + 6);
  file.writeBigUInt64LE(BigInt(address), entry + 8);
  file.writeBigUInt64LE(BigInt(machine.code.length), entry + 16);
  file.writeUInt16LE(VER_NDX_GLOBAL, elf.offset(elf.value(DT.versions)) + symbol * 2);
  file.copy(file, need.at, need.at + 16, elf.dynamicEnd); // the entries behind move up
  file.fill(0, elf.dynamicEnd - 16, elf.dynamicEnd);
}

type Segment = {
  at: number;
  type: number;
  flags: number;
  offset: number;
  address: number;
  fileSize: number;
  memorySize: number;
};
type DynamicEntry = { at: number; tag: number; value: number };
type Elf = {
  file: Buffer;
  segments: readonly Segment[];
  dynamic: readonly DynamicEntry[];
  dynamicEnd: number;
  /** Of an entry of the dynamic table; throws when there is none. */
  value(tag: number): number;
  /** Where in the file the byte at an address is. */
  offset(address: number): number;
  /** From the table of strings. */
  string(index: number): string;
};

function readElf(file: Buffer): Elf {
  const word = (at: number): number => Number(file.readBigUInt64LE(at));
  const segments = Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = word(32) + index * 56;
    return {
      at,
      type: file.readUInt32LE(at),
      flags: file.readUInt32LE(at + 4),
      offset: word(at + 8),
      address: word(at + 16),
      fileSize: word(at + 32),
      memorySize: word(at + 40),
    };
  });
  const table = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!table) throw new Error('the executable has no dynamic table');
  const dynamic = Array.from({ length: table.fileSize / 16 }, (_, index) => {
    const at = table.offset + index * 16;
    return { at, tag: word(at), value: word(at + 8) };
  });
  const elf: Elf = {
    file,
    segments,
    dynamic,
    dynamicEnd: table.offset + table.fileSize,
    value(tag) {
      const entry = dynamic.find((each) => each.tag === tag);
      if (!entry) throw new Error(`the dynamic table has no entry 0x${tag.toString(16)}`);
      return entry.value;
    },
    offset(address) {
      const home = segments.find(
        (each) => each.type === PT_LOAD && address >= each.address && address < each.address + each.fileSize,
      );
      if (!home) throw new Error(`nothing in the file is loaded to 0x${address.toString(16)}`);
      return address - home.address + home.offset;
    },
    string(index) {
      const at = elf.offset(elf.value(DT.strings)) + index;
      return file.toString('latin1', at, file.indexOf(0, at));
    },
  };
  return elf;
}

/** Take the library out of the list of needed versions. Returns the numbers that its versions have in the table of symbols' versions. */
function dropVersionNeed({ file, dynamic, value, offset, string }: Elf): Set<number> {
  let previous: number | null = null;
  let at = offset(value(DT.versionNeeds));
  for (let left = value(DT.versionNeedsCount); left > 0; left--) {
    const next = file.readUInt32LE(at + 12);
    if (string(file.readUInt32LE(at + 4)) !== library) {
      previous = at;
      at += next;
      continue;
    }
    const numbers = new Set<number>();
    let version = at + file.readUInt32LE(at + 8);
    for (let count = file.readUInt16LE(at + 2); count > 0; count--) {
      numbers.add(file.readUInt16LE(version + 6));
      version += file.readUInt32LE(version + 12);
    }
    const entry = (tag: number): number => dynamic.find((each) => each.tag === tag)!.at + 8;
    if (previous !== null) file.writeUInt32LE(next === 0 ? 0 : at + next - previous, previous + 12);
    else file.writeBigUInt64LE(BigInt(value(DT.versionNeeds) + next), entry(DT.versionNeeds));
    file.writeBigUInt64LE(BigInt(value(DT.versionNeedsCount) - 1), entry(DT.versionNeedsCount));
    return numbers;
  }
  throw new Error(`the executable needs ${library} and no version of it`);
}

/** The number of the one symbol that has one of these versions. */
function theSymbol({ file, value, offset, string }: Elf, versions: ReadonlySet<number>): number {
  const table = offset(value(DT.versions));
  const symbols = offset(value(DT.symbols));
  const count = (value(DT.strings) - value(DT.symbols)) / symbolSize; // the strings follow the symbols
  const found = Array.from({ length: Math.floor(count) }, (_, index) => index).filter((index) =>
    versions.has(file.readUInt16LE(table + index * 2) & 0x7fff),
  );
  const names = found.map((index) => string(file.readUInt32LE(symbols + index * symbolSize)));
  if (names.length !== 1 || names[0] !== imported)
    throw new Error(
      `expected that Node takes ${imported} alone from ${library}, and it takes ${names.join(', ') || 'nothing'}`,
    );
  return found[0]!;
}

/** Where in the file the one relocation is that names the symbol. */
function theRelocation({ file, value, offset }: Elf, symbol: number, { jumpSlot }: Machine): number {
  const tables = [
    [value(DT.relocations), value(DT.relocationsSize)],
    [value(DT.pltRelocations), value(DT.pltRelocationsSize)],
  ] as const;
  const entries = tables.flatMap(([address, size]) =>
    Array.from({ length: size / relocationSize }, (_, index) => offset(address) + index * relocationSize),
  );
  const found = entries.filter((at) => file.readUInt32LE(at + 12) === symbol);
  if (found.length !== 1 || file.readUInt32LE(found[0]! + 8) !== jumpSlot)
    throw new Error(`expected that ${imported} is called through one pointer`);
  return found[0]!;
}

/**
 * Write code into what the last page of the executable segment has left, behind the table of segments, which the
 * injection of the bundle puts there. Returns its address.
 */
function appendCode({ file, segments }: Elf, text: Segment, code: Buffer): number {
  const end = text.offset + text.fileSize;
  const tableEnd = Number(file.readBigUInt64LE(32)) + segments.length * 56;
  const start = Math.ceil((tableEnd > text.offset && tableEnd <= end ? tableEnd : end) / 16) * 16;
  const size = Math.max(text.fileSize, start + code.length - text.offset);
  const isInTheWay = segments.some(
    (each) =>
      each.type === PT_LOAD &&
      each !== text &&
      ((each.offset >= end && each.offset < text.offset + size) ||
        (each.address > text.address && each.address < text.address + size)),
  );
  if (isInTheWay || text.fileSize !== text.memorySize)
    throw new Error(`there is no room for ${imported} behind the code of the executable`);
  code.copy(file, start);
  file.writeBigUInt64LE(BigInt(size), text.at + 32);
  file.writeBigUInt64LE(BigInt(size), text.at + 40);
  return text.address + start - text.offset;
}

function words(...lines: readonly (readonly number[])[]): Buffer {
  const all = lines.flat();
  const buffer = Buffer.alloc(all.length * 4);
  all.forEach((word, index) => buffer.writeUInt32LE(word, index * 4));
  return buffer;
}
