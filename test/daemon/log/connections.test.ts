import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { logConnections } from '../../../src/daemon/log/connections.ts';
import { readSource } from '../../../src/daemon/rules/specs.ts';

const timeout = 20_000;

test('trouble is logged again after a second although the clock was set back by a day', { timeout }, (t) => {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const observer = logConnections(log, readSource({ typed: 'tcp:1', absolute: 'tcp:1' }));
  const fail = () => observer.acceptPaused?.({ error: new Error('none left'), retryInMs: 5 } as never);
  let monotonicMs = 10_000;
  t.mock.method(performance, 'now', () => monotonicMs);
  fail();
  fail();
  t.mock.method(Date, 'now', () => 0);
  monotonicMs += 1001;
  fail();
  assert.equal(lines.length, 2);
});
