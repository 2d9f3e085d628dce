import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isMachO, signAdHoc } from '../../scripts/release/macho.ts';

const LC_SEGMENT_64 = 0x19;
const headerSize = 0x400;
const textSize = 0x4000;

/** A Mach-O file of two segments and some bytes, which is all that a signature looks at. */
function makeFile(linkEditSize: number): Buffer {
  const file = Buffer.alloc(textSize + linkEditSize, 7);
  file.fill(0, 0, headerSize);
  file.writeUInt32LE(0xfeedfacf, 0);
  file.writeUInt32LE(2, 16);
  file.writeUInt32LE(144, 20);
  for (const [index, [name, offset, size]] of (
    [
      ['__TEXT', 0, textSize],
      ['__LINKEDIT', textSize, linkEditSize],
    ] as const
  ).entries()) {
    const at = 32 + index * 72;
    file.writeUInt32LE(LC_SEGMENT_64, at);
    file.writeUInt32LE(72, at + 4);
    file.write(name, at + 8, 'latin1');
    file.writeBigUInt64LE(BigInt(size), at + 32);
    file.writeBigUInt64LE(BigInt(offset), at + 40);
    file.writeBigUInt64LE(BigInt(size), at + 48);
  }
  return file;
}

/** The code that a signed file covers, after its hashes were compared. */
function verify(file: Buffer): Buffer {
  const command = 32 + 144;
  assert.equal(file.readUInt32LE(16), 3);
  assert.equal(file.readUInt32LE(command), 0x1d);
  const [offset, size] = [file.readUInt32LE(command + 8), file.readUInt32LE(command + 12)];
  assert.equal(offset % 16, 0);
  assert.equal(offset + size, file.length);
  const linkEdit = 32 + 72;
  assert.equal(Number(file.readBigUInt64LE(linkEdit + 40) + file.readBigUInt64LE(linkEdit + 48)), file.length);
  assert.ok(file.readBigUInt64LE(linkEdit + 32) >= file.readBigUInt64LE(linkEdit + 48));
  const signature = file.subarray(offset);
  assert.equal(signature.readUInt32BE(0), 0xfade0cc0);
  const directory = signature.subarray(signature.readUInt32BE(16));
  assert.equal(directory.readUInt32BE(0), 0xfade0c02);
  const [hashesAt, nameAt, slots, limit] = [16, 20, 28, 32].map((at) => directory.readUInt32BE(at)) as [
    number,
    number,
    number,
    number,
  ];
  assert.equal(directory.toString('latin1', nameAt, directory.indexOf(0, nameAt)), 'grace');
  assert.equal(limit, offset);
  assert.equal(slots, Math.ceil(offset / 4096));
  for (let page = 0; page < slots; page++) {
    const hash = createHash('sha256')
      .update(file.subarray(page * 4096, Math.min((page + 1) * 4096, limit)))
      .digest();
    assert.deepEqual(directory.subarray(hashesAt + page * 32, hashesAt + page * 32 + 32), hash, `page ${page}`);
  }
  return file.subarray(0, offset);
}

test('a Mach-O file gets a signature that covers every page of it', () => {
  const file = makeFile(10_001);
  assert.equal(isMachO(file), true);
  const code = verify(signAdHoc(file, { identifier: 'grace' }));
  assert.equal(code.length, textSize + 10_001 + 15);
});

test('a signed Mach-O file is signed anew in the place of the old signature', () => {
  const once = signAdHoc(makeFile(5000), { identifier: 'grace' });
  once[textSize + 1] = 0;
  const twice = signAdHoc(Buffer.from(once), { identifier: 'grace' });
  verify(twice);
  assert.equal(twice.length, once.length);
});

test('a Mach-O file without room for the command is refused', () => {
  const file = makeFile(100);
  file.fill(1, 32 + 144, headerSize);
  assert.throws(() => signAdHoc(file, { identifier: 'grace' }), /no room for another load command/);
});
