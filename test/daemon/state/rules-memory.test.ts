import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { RulesCopy, isRulesCopy, readRulesCopy } from '../../../src/daemon/state/rules-memory.ts';
import type { Supervisor } from '../../../src/daemon/supervisor/supervisor.ts';
import { closeFd, dupFd } from '../../../src/sys/descriptor.ts';
import { openMemoryFile } from '../../../src/sys/memory-file.ts';

const skip = process.platform !== 'linux' && 'files in memory are of Linux';
const text = (endpoint: string) => ({ typed: endpoint, absolute: endpoint });
const rules = [
  { src: { ...text('tcp:9000'), name: 'wäb' }, dst: text('unix:/run/a'), port: 9000 },
  { src: text('tcp:9001'), dst: text('tcp:9') },
];

/** A keeper that holds copies, as the real one does. */
function fakeKeeper(keeper: Supervisor['keeper'] = { pid: 1, version: '1' }) {
  const held = new Map<string, number>();
  const forget = (name: string) => {
    const fd = held.get(name);
    held.delete(name);
    if (fd !== undefined) closeFd(fd);
  };
  const store = (name: string, fd: number) => {
    forget(name);
    held.set(name, dupFd(fd));
  };
  return { held, supervisor: { keeper, store, forget } as Partial<Supervisor> as Supervisor };
}

test('the keeper holds the rules that were remembered last, and none once they are forgotten', { skip }, () => {
  const { held, supervisor } = fakeKeeper();
  const kept = new RulesCopy(supervisor, { attempt: (_, act) => act() });
  kept.remember([]);
  kept.remember(rules);
  const [[name, fd] = ['', -1], ...others] = held;
  assert.deepEqual(others, []);
  assert.ok(isRulesCopy(name), name);
  assert.deepEqual(readRulesCopy(dupFd(fd)), rules);
  kept.forget();
  kept.forget();
  assert.equal(held.size, 0);
});

test('rules that are remembered again and again cost no descriptors', { skip }, () => {
  const { supervisor } = fakeKeeper();
  const kept = new RulesCopy(supervisor, { attempt: (_, act) => act() });
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  for (let count = 0; count < 5; count++) kept.remember(rules);
  kept.forget();
  assert.equal(open(), before);
});

test('without a keeper nothing is held', { skip }, () => {
  const { held, supervisor } = fakeKeeper(null);
  const kept = new RulesCopy(supervisor, { attempt: (_, act) => act() });
  kept.remember(rules);
  kept.forget();
  assert.equal(held.size, 0);
});

for (const [what, contents] of [
  ['is empty', ''],
  ['is shorter than it says', `${'100'.padStart(10, '0')}[]`],
  ['holds something else', `${'4'.padStart(10, '0')}true`],
] as const) {
  test(`rules in memory that cannot be understood are none: one that ${what}`, { skip }, () => {
    assert.equal(readRulesCopy(openMemoryFile('test', Buffer.from(contents))), null);
  });
}

test('the names of listeners are no rules', () => {
  assert.equal(isRulesCopy('tcp:9000'), false);
});
