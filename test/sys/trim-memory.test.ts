import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filePages } from '../../src/sys/trim-memory.ts';

const timeout = 60_000;

function mapping(head: string, { anonymous, dirty = 0 }: { anonymous: number; dirty?: number }): string {
  return `${head}\nSize:                 64 kB\nRss:                  64 kB\nPrivate_Dirty:        ${dirty} kB\nAnonymous:            ${anonymous} kB\nVmFlags: rd ex mr mw me \n`;
}

test('only unchanged pages of files that cannot be written to are given back', { timeout }, () => {
  const text = [
    mapping('00400000-0082e000 r--p 00000000 fe:00 131 /usr/bin/grace', { anonymous: 0 }),
    mapping('0082e000-03489000 r-xp 0042e000 fe:00 131 /usr/bin/grace (deleted)', { anonymous: 0 }),
    mapping('03489000-03490000 r--p 03089000 fe:00 131 /usr/bin/relocated', { anonymous: 28 }),
    mapping('03490000-03491000 r--p 03090000 fe:00 131 /usr/bin/just-installed', { anonymous: 0, dirty: 4 }),
    mapping('03491000-03492000 rw-p 03091000 fe:00 131 /usr/bin/data', { anonymous: 0 }),
    mapping('2fe18000-301f2000 rw-p 00000000 00:00 0      [heap]', { anonymous: 64 }),
    mapping('7ffc6c9fe000-7ffc6ca00000 r-xp 00000000 00:00 0  [vdso]', { anonymous: 0 }),
    mapping('7fe401a1e000-7fe401a44000 r-xp 00000000 00:00 0 ', { anonymous: 0 }),
  ].join('');
  assert.deepEqual(filePages(text), [
    { start: 0x400000n, end: 0x82e000n },
    { start: 0x82e000n, end: 0x3489000n },
    { start: 0x3490000n, end: 0x3491000n },
  ]);
});
