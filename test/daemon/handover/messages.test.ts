import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseHandover,
  readGo,
  readMoveAnswer,
  readMoveMessage,
  readSuccessorMessage,
} from '../../../src/daemon/handover/messages.ts';
import { whole } from './example.ts';

test('a successor reads what its predecessor wrote', () => {
  assert.deepEqual(parseHandover(JSON.parse(JSON.stringify(whole))), whole);
});

test('a predecessor of an earlier version says less', () => {
  const { uptimeMs: _uptime, generation: _generation, unread: _unread, move: _move, ...least } = whole;
  assert.deepEqual(parseHandover(least), least);
});

test('what a later version says besides is passed over', () => {
  assert.deepEqual(
    parseHandover({ ...whole, colour: 'green', rules: whole.rules.map((rule) => ({ ...rule, weight: 3 })) }),
    whole,
  );
});

test('another format is refused with both versions and what to do', () => {
  assert.throws(() => parseHandover({ ...whole, format: 2, version: '9.9' }), {
    name: 'GraceError',
    message:
      'this version cannot take over from the running daemon: what version 9.9 hands over has format 2, and this version reads format 1',
    hint: /stop the daemon and start it with this version/,
  });
});

for (const [what, message] of [
  ['nothing', null],
  ['a text', 'handover'],
  ['a rule without a destination', { ...whole, rules: [{ ...whole.rules[0], dst: undefined }] }],
  ['a listener that is no number', { ...whole, rules: [{ ...whole.rules[0], listener: '3' }] }],
] as const) {
  test(`${what} is no hand-over`, () => {
    assert.throws(() => parseHandover(message), { name: 'GraceError', message: /^this version cannot take over/ });
  });
}

test('a message of the other process is what its schema says, or is told of by its kind', () => {
  assert.deepEqual(readSuccessorMessage({ ready: { pid: 7, version: '1', move: 1 } }), {
    ready: { pid: 7, version: '1', move: 1 },
  });
  assert.equal(readSuccessorMessage('Usage: something else'), null);
  assert.equal(readSuccessorMessage({ other: true }), null);
  assert.throws(() => readSuccessorMessage({ ready: { version: '1' } }), {
    name: 'GraceError',
    message: /^cannot understand what the new process says \("ready"\): ready\.pid: /,
  });
  assert.deepEqual(readGo({ go: true }), { go: true });
  assert.throws(() => readGo({ batch: { id: 1 } }), {
    message: 'the daemon that is to be replaced did not say that it is',
  });
  assert.deepEqual(readMoveMessage({ keep: 3 }), { keep: 3 });
  assert.equal(readMoveMessage({ later: 3 }), null);
  assert.throws(() => readMoveMessage({ batch: { id: 1 } }), /the old process says \("batch"\): batch\.src: /);
  assert.deepEqual(readMoveAnswer({ refused: 3, reason: 'no' }), { refused: 3, reason: 'no' });
  assert.throws(() => readMoveAnswer(null), { message: 'the new process went away' });
  assert.throws(() => readMoveAnswer({ pong: 1 }), { message: 'the new process talks about something else' });
});
