import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { SignalRelay } from '../../src/keeper/signals.ts';
import type { SignalTarget } from '../../src/keeper/signals.ts';

const timeout = 20_000;

// Not SIGUSR2, at which the test runner's process writes a report.

test(
  'a signal waits for a daemon that serves, once, and what ends the daemon is not kept for the next',
  { timeout },
  async () => {
    const daemons: SignalTarget[] = [{ pid: 1, phase: 'replaced' }];
    const relay = new SignalRelay(() => daemons, []);
    assert.deepEqual([relay.pass('SIGHUP'), relay.pass('SIGHUP'), relay.pass('SIGTERM')], [true, true, false]);
    assert.deepEqual([relay.pending, relay.isStopping], [['SIGHUP'], true]);
    const [heard, ended] = [once(process, 'SIGHUP'), once(process, 'SIGTERM')];
    daemons.push({ pid: process.pid, phase: 'serving' });
    relay.serving();
    await Promise.all([heard, ended]);
    assert.deepEqual(relay.pending, []);
  },
);

test('what an earlier image of the keeper had not passed on is passed on by this one', { timeout }, async () => {
  const relay = new SignalRelay(() => [{ pid: process.pid, phase: 'serving' }], ['SIGHUP']);
  const heard = once(process, 'SIGHUP');
  relay.serving();
  await heard;
});

test('a daemon that is starting is ended, and nothing else is said to it', { timeout }, async () => {
  const relay = new SignalRelay(() => [{ pid: process.pid, phase: 'starting' }], []);
  const ended = once(process, 'SIGTERM');
  assert.equal(relay.pass('SIGTERM'), true);
  await ended;
  relay.pass('SIGHUP');
  assert.deepEqual(relay.pending, ['SIGHUP']);
});

test(
  'a daemon that hears how often the keeper was told to stop gets no signal, and the same number after it came back',
  { timeout },
  () => {
    const told: number[] = [];
    const relay = new SignalRelay(
      () => [{ pid: process.pid, phase: 'serving', stop: (times) => void told.push(times) }],
      [],
    );
    relay.pass('SIGTERM');
    relay.serving();
    relay.pass('SIGINT');
    assert.deepEqual(told, [1, 1, 2]);
  },
);
