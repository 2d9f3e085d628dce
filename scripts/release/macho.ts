/**
 * The ad hoc code signature of a Mach-O executable: hashes of its pages without any identity. It is
 * the least that macOS on Apple silicon wants of a program before it runs it (the structures are
 * those of xnu, osfmk/kern/cs_blobs.h and EXTERNAL_HEADERS/mach-o/loader.h). A Developer ID
 * signature and notarization, made on a Mac, take its place.
 */
import { createHash } from 'node:crypto';

const MH_MAGIC_64 = 0xfeedfacf;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const CSMAGIC_EMBEDDED_SIGNATURE = 0xfade0cc0;
const CSMAGIC_CODEDIRECTORY = 0xfade0c02;
/** Signed ad hoc, and by the program that made the file: `codesign` may replace it without --force. */
const signatureFlags = 0x2 | 0x20000;
const CS_EXECSEG_MAIN_BINARY = 1;
const directoryVersion = 0x20400;
const directoryHeaderSize = 88;
const hashPageBits = 12;
const segmentPageSize = 0x4000;

type LoadCommand = { type: number; at: number };

export function isMachO(file: Buffer): boolean {
  return file.readUInt32LE() === MH_MAGIC_64;
}

/** The executable with an ad hoc signature, instead of the one it may have. `file` is changed as well. */
export function signAdHoc(file: Buffer, { identifier }: { identifier: string }): Buffer {
  const commands = readCommands(file);
  const [text, linkEdit] = ['__TEXT', '__LINKEDIT'].map((name) => findSegment(file, commands, name));
  if (text === undefined || linkEdit === undefined)
    throw new Error('the Mach-O file has no __TEXT or no __LINKEDIT segment');
  const old = commands.find(({ type }) => type === LC_CODE_SIGNATURE);
  const command = old?.at ?? addCommand(file, commands);
  const code = padded(old ? file.subarray(0, file.readUInt32LE(old.at + 8)) : file);
  const size = signatureSize(code.length, identifier);
  const linkEditSize = code.length + size - Number(code.readBigUInt64LE(linkEdit + 40));
  code.writeUInt32LE(code.length, command + 8);
  code.writeUInt32LE(size, command + 12);
  code.writeBigUInt64LE(BigInt(linkEditSize), linkEdit + 48);
  code.writeBigUInt64LE(BigInt(Math.ceil(linkEditSize / segmentPageSize) * segmentPageSize), linkEdit + 32);
  return Buffer.concat([code, makeSignature(code, { identifier, textSize: code.readBigUInt64LE(text + 48), size })]);
}

/** Add an empty LC_CODE_SIGNATURE behind the other load commands; returns where it is. */
function addCommand(file: Buffer, commands: readonly LoadCommand[]): number {
  const last = commands.at(-1)!;
  const at = last.at + file.readUInt32LE(last.at + 4);
  const size = 16;
  if (file.subarray(at, at + size).some((byte) => byte !== 0))
    throw new Error('the Mach-O file has no room for another load command');
  file.writeUInt32LE(LC_CODE_SIGNATURE, at);
  file.writeUInt32LE(size, at + 4);
  file.writeUInt32LE(commands.length + 1, 16);
  file.writeUInt32LE(file.readUInt32LE(20) + size, 20);
  return at;
}

/** The signature begins at a multiple of 16. */
function padded(code: Buffer): Buffer {
  return Buffer.concat([code, Buffer.alloc(-code.length & 15)]);
}

function makeSignature(
  code: Buffer,
  { identifier, textSize, size }: { identifier: string; textSize: bigint; size: number },
): Buffer {
  const hashes = hashPages(code);
  const name = Buffer.from(`${identifier}\0`);
  const signature = Buffer.alloc(size);
  const directory = signature.subarray(20);
  const length = directoryHeaderSize + name.length + hashes.length * 32;
  writeWords(signature, [CSMAGIC_EMBEDDED_SIGNATURE, 20 + length, 1, 0, 20]); // one blob, the directory, at 20
  const hashesAt = directoryHeaderSize + name.length;
  writeWords(directory, [
    CSMAGIC_CODEDIRECTORY,
    length,
    directoryVersion,
    signatureFlags,
    hashesAt,
    directoryHeaderSize,
    0,
    hashes.length,
    code.length,
  ]);
  directory.set([32, 2, 0, hashPageBits], 36); // 32 bytes of SHA-256 a page
  directory.writeBigUInt64BE(0n, 64);
  directory.writeBigUInt64BE(textSize, 72);
  directory.writeBigUInt64BE(BigInt(CS_EXECSEG_MAIN_BINARY), 80);
  name.copy(directory, directoryHeaderSize);
  Buffer.concat(hashes).copy(directory, hashesAt);
  return signature;
}

function hashPages(code: Buffer): Buffer[] {
  const pageSize = 1 << hashPageBits;
  return Array.from({ length: Math.ceil(code.length / pageSize) }, (_, page) =>
    createHash('sha256')
      .update(code.subarray(page * pageSize, (page + 1) * pageSize))
      .digest(),
  );
}

function signatureSize(codeSize: number, identifier: string): number {
  const exact = 20 + directoryHeaderSize + identifier.length + 1 + Math.ceil(codeSize / (1 << hashPageBits)) * 32;
  return Math.ceil(exact / 16) * 16;
}

function writeWords(at: Buffer, words: readonly number[]): void {
  words.forEach((word, index) => at.writeUInt32BE(word >>> 0, index * 4));
}

function readCommands(file: Buffer): LoadCommand[] {
  const commands: LoadCommand[] = [];
  for (let at = 32, left = file.readUInt32LE(16); left > 0; left--) {
    commands.push({ type: file.readUInt32LE(at), at });
    at += file.readUInt32LE(at + 4);
  }
  return commands;
}

function findSegment(file: Buffer, commands: readonly LoadCommand[], name: string): number | undefined {
  return commands.find(
    ({ type, at }) => type === LC_SEGMENT_64 && file.toString('latin1', at + 8, at + 24).replace(/\0+$/, '') === name,
  )?.at;
}
