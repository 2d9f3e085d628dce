import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientSessions } from '../../../src/engine/portable/client-sessions.ts';

test('a session is given once, the latest first, and few are kept', () => {
  const sessions = new ClientSessions();
  assert.equal(sessions.take(), undefined);
  for (let number = 0; number < 100; number++) sessions.add(Buffer.from([number]));
  const taken = [];
  for (let next = sessions.take(); next; next = sessions.take()) taken.push(next[0]);
  assert.deepEqual(taken, [99, 98, 97, 96, 95, 94, 93, 92]);
  sessions.add(Buffer.from([1]));
  sessions.forget();
  assert.equal(sessions.take(), undefined);
});
