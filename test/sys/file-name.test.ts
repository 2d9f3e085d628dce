import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeName, encodeName, fsPath, isRawName } from '../../src/sys/file-name.ts';

test('any bytes come back as they were, and what is UTF-8 is read as that', () => {
  const names = [
    [0x6d, 0xfc, 0x6e],
    [0xff],
    [0xc3],
    [0xc3, 0xbc, 0xfc],
    [0xf0, 0x9f, 0x98, 0x80, 0x80],
    [0xed, 0xb3, 0xbc],
    [0xef, 0xbb, 0xbf, 0x61],
    [0, 0xfe, 0x41],
    [],
  ];
  for (const bytes of names) assert.deepEqual([...encodeName(decodeName(Uint8Array.from(bytes)))], bytes);
  assert.equal(decodeName(Uint8Array.from([0xc3, 0xbc, 0xfc])), 'ü\uDCFC');
  assert.equal(decodeName(new TextEncoder().encode('/tmp/ü😀')), '/tmp/ü😀');
});

test('a path that is UTF-8 stays a text', () => {
  assert.equal(fsPath('/tmp/ü😀'), '/tmp/ü😀');
  assert.equal(isRawName('😀'), false);
  assert.deepEqual(fsPath('/m\uDCFCn'), Buffer.from('/m\xfcn', 'latin1'));
});
