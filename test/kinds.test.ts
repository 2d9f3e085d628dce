import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorOf, failureOf } from '../src/control/messages.ts';
import { GraceError } from '../src/error.ts';
import { exitCodeOf, isNoDaemon } from '../src/kinds.ts';
import { EndpointError } from '../src/endpoint/error.ts';

const kinds: Readonly<Record<string, number>> = {
  ERR_GRACE_USAGE: 2,
  ERR_GRACE_ENDPOINT: 2,
  ERR_GRACE_ARGUMENT: 2,
  ERR_GRACE_ADDRESS: 2,
  ERR_GRACE_NO_DAEMON: 3,
  ERR_GRACE_NOT_FORWARDED: 4,
  ERR_GRACE_NOT_ACCEPTED: 5,
  ERR_GRACE_TIMEOUT: 124,
};

test('a kind of error means an exit code, and everything else is a failure', () => {
  for (const [code, exitCode] of Object.entries(kinds))
    assert.equal(exitCodeOf(new GraceError('x', { code })), exitCode, code);
  for (const error of [new GraceError('x'), new GraceError('x', { code: 'EADDRINUSE' }), new Error('x'), null])
    assert.equal(exitCodeOf(error), 1);
  assert.equal(exitCodeOf(new EndpointError('bad', { text: 'x' })), 2);
});

test('a kind is told to another process, and understood from one that tells the exit code alone', () => {
  for (const [code, exitCode] of Object.entries(kinds)) {
    const failure = failureOf(new GraceError('x', { code, hint: 'y' }));
    assert.deepEqual(failure, { message: 'x', hint: 'y', code, exitCode });
    const { message, hint, code: told } = errorOf(failure);
    assert.deepEqual([message, hint, told], ['x', 'y', code]);
    assert.equal(exitCodeOf(errorOf({ message: 'x', exitCode })), exitCode);
  }
  assert.equal(errorOf({ message: 'x', exitCode: 1 }).code, undefined);
  assert.ok(isNoDaemon(errorOf({ message: 'x', exitCode: 3 })));
});
