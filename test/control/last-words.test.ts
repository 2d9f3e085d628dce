import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastWords } from '../../src/control/last-words.ts';

test('the last words of a process are its last lines without the stack', () => {
  assert.equal(lastWords('one\ntwo\n\nthree\nfour\n'), 'two | three | four');
  assert.equal(
    lastWords('node:internal:1\nError: no\n    at run (x.js:1:2)\n    at y.js:3\n'),
    'node:internal:1 | Error: no',
  );
  const native = [
    '#',
    "file.cc:34: Assertion `(0) == (x)' failed.",
    '----- Native stack trace -----',
    '',
    ' 1: 0x9d1a2f node::Abort() [/usr/bin/node]',
    '10: 0x8ae86e _start [/usr/bin/node]',
    '',
  ];
  assert.equal(lastWords(native.join('\n')), "file.cc:34: Assertion `(0) == (x)' failed.");
  assert.equal(lastWords(' \n'), undefined);
});
