import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostTarget, nodeBinary } from '../../scripts/build.ts';
import { trimIcu } from '../../scripts/release/icu.ts';

const timeout = 60_000;

/** What a program may do with text and time that has ICU below it, and what it gives. */
const program = `[
  new Date(0).toString(), new Date(0).toLocaleString('en-US', { timeZone: 'Asia/Tokyo' }),
  new Intl.NumberFormat('en').format(1234.5), new Intl.DateTimeFormat().resolvedOptions().timeZone,
  'ﬀ'.normalize('NFKC'), 'STRASSE'.toLocaleLowerCase(), /^\\p{Lu}\\p{Emoji}$/u.test('Ä1'),
  ['b', 'ä', 'a'].sort((a, b) => a.localeCompare(b)).join(''), new TextDecoder().decode(Buffer.from('grün')),
  new TextDecoder('utf-16le').decode(Buffer.from('x', 'utf16le')), new TextDecoder('latin1').decode(Buffer.from([0xe4])),
  new URL('http://grün.example').hostname, require('node:util').inspect('日本', { colors: true }),
  [...new Intl.Segmenter('en').segment('e\\u0301a')].length, Intl.DateTimeFormat('de').format(0).length > 0,
]`;

test(
  'Node with the trimmed data of ICU does what a program in English needs, whatever the locale is',
  { timeout },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'grace-icu-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const { file } = await nodeBinary(hostTarget());
    const binary = readFileSync(file);
    const { length } = binary;
    const { start, end } = trimIcu(binary);
    assert.equal(binary.length, length);
    assert.ok(end - start > 25e6, `${end - start} bytes became free`);
    assert.ok(binary.subarray(start, end).every((byte) => byte === 0));
    const trimmed = join(directory, 'node');
    writeFileSync(trimmed, binary, { mode: 0o755 });
    for (const env of [
      { TZ: 'Europe/Berlin' },
      { LC_ALL: 'ja_JP.UTF-8' },
      { LANG: 'de_DE', LC_ALL: 'tr_TR.ISO-8859-9', TZ: 'America/New_York' },
      { LC_ALL: 'C' },
    ]) {
      const outputs = [file, trimmed].map(
        (node) =>
          JSON.parse(execFileSync(node, ['-p', `JSON.stringify(${program})`], { env, encoding: 'utf8' })) as unknown[],
      );
      // What is in the language of the user, the name of a zone and the way to write a date, is not there for every language.
      const [whole, small] = outputs.map((values) => [
        String(values[0]).replace(/ \(.*/, ''),
        ...values.slice('LC_ALL' in env && env.LC_ALL !== 'C' ? 2 : 1),
      ]);
      assert.deepEqual(small, whole, JSON.stringify(env));
    }
  },
);

test('a binary without the data of ICU is refused', () => {
  assert.throws(() => trimIcu(Buffer.alloc(1000)), /found it 0 times/);
});
