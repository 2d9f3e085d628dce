import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Phase } from '../../src/daemon/lifecycle.ts';
import { Troubles } from '../../src/daemon/troubles.ts';

function setUp() {
  const told: string[] = [];
  return { told, troubles: new Troubles((text) => void told.push(text)) };
}

const fail = (code: string) => () => {
  throw Object.assign(new Error(code), { code });
};

test('what serving does not need may fail: it is told once, and kept until it works', () => {
  const { told, troubles } = setUp();
  troubles.attempt('the pid file cannot be written', fail('ENOSPC'));
  troubles.attempt('the pid file cannot be written', fail('ENOSPC'));
  assert.deepEqual(troubles.texts, told);
  assert.equal(told.length, 1);
  assert.match(told[0]!, /^the pid file cannot be written: .*ENOSPC/);
  troubles.attempt('the pid file cannot be written', () => {});
  assert.deepEqual(troubles.texts, []);
});

test('another reason is news, and so is the same one after it was over', () => {
  const { told, troubles } = setUp();
  troubles.attempt('it', fail('ENOSPC'));
  troubles.attempt('it', fail('EROFS'));
  troubles.attempt('it', () => {});
  troubles.attempt('it', fail('EROFS'));
  troubles.add('that', 'that is gone');
  assert.equal(told.length, 4);
  assert.equal(troubles.texts.length, 2);
});

test('what is to be so at last is tried again, but not by a process that was replaced', async () => {
  let phase: Phase = 'restarting';
  const troubles = new Troubles(() => {}, { phase: () => phase, retryMs: 1 });
  let tries = 0;
  const done = new Promise<void>((resolve) => {
    troubles.attemptUntilDone('it cannot be written', () => {
      if (++tries < 3) fail('ENOSPC')();
      resolve();
    });
  });
  const alive = setInterval(() => (phase = 'serving'), 5); // the timers of troubles keep no process running
  await done;
  assert.deepEqual([tries, troubles.texts], [3, []]);
  phase = 'replaced';
  let others = 0;
  troubles.attemptUntilDone('another is not', () => {
    others++;
    fail('ENOSPC')();
  });
  clearInterval(alive);
  await delay(20); // that nothing is tried again, only time can tell
  assert.equal(others, 1);
});
