import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GraceError } from '../../src/error.ts';
import type { ConnectionEnd } from '../../src/engine/engine.ts';
import { openForwarder, ruleOf } from './rules.ts';

const a = 'tcp:127.0.0.1:7500';
const b = 'tcp:127.0.0.1:7600';
const c = 'tcp:127.0.0.1:7700';
const [first, second, third] = [a, b, c].map((dst) => ruleOf('tcp:9000', dst)) as [RuleOf, RuleOf, RuleOf];
type RuleOf = ReturnType<typeof ruleOf>;

/** Long enough not to pass during a test. */
const long = 60_000;

async function begin(trialMs: number, options = {}) {
  const set = openForwarder(options);
  await set.forwarder.start(first);
  const before = set.connect();
  await set.forwarder.switch(second.src, second.dst, { trialMs });
  const trial = set.forwarder.trialOf(first.src) ?? assert.fail('no trial');
  return { ...set, before, trial };
}

test('a switch on trial is stored only when its time is up', { timeout: 20_000 }, async () => {
  const { trial, table, stored, connect, forwarder } = await begin(30);
  assert.deepEqual(stored(), [a]);
  connect().tellEnd({ bytesIn: 1, bytesOut: 1 });
  assert.deepEqual(await trial.outcome, { result: 'passed' });
  assert.deepEqual(stored(), [b]);
  assert.equal(forwarder.trialOf(first.src), null);
  assert.deepEqual(table(), [
    [b, 0, true],
    [a, 1, false],
  ]);
});

const refused = new GraceError('cannot connect: connection refused');
const failures: Record<string, { end: Partial<ConnectionEnd>; why: RegExp }> = {
  'is refused': {
    end: { stage: 'dial', reason: 'dial-refused', error: refused },
    why: /^cannot connect: connection refused$/,
  },
  'ends before a byte came back to a client that had sent some': {
    end: { bytesIn: 7 },
    why: /before a byte came back/,
  },
  'breaks before a byte came back to a client that had sent some': {
    end: { bytesIn: 7, reason: 'error', error: new GraceError('no route') },
    why: /before a byte came back: no route/,
  },
  'is reset before a byte came back': { end: { reason: 'upstream-reset' }, why: /was reset before a byte came back/ },
};

for (const [what, { end, why }] of Object.entries(failures))
  test(`a switch is rolled back when a new connection ${what}; open ones stay`, { timeout: 20_000 }, async () => {
    const { trial, table, saved, stored, connect, before } = await begin(long);
    const saves = saved.length;
    connect();
    connect().tellEnd(end);
    const outcome = await trial.outcome;
    assert.equal(outcome.result, 'rolled back');
    assert.match(outcome.result === 'rolled back' ? outcome.why : '', why);
    assert.deepEqual(table(), [
      [a, 1, true],
      [b, 1, false],
    ]);
    assert.equal(connect(), before);
    assert.deepEqual([saved.length, stored()], [saves, [a]]);
  });

const harmless: Record<string, Partial<ConnectionEnd>> = {
  'gets an answer': { bytesIn: 1, bytesOut: 1 },
  'says nothing': {},
  'fails its own handshake': { stage: 'handshake', reason: 'handshake-failed', error: refused },
  'leaves at once, before it is connected': { stage: 'dial', reason: 'client-gone' },
  'is reset by its client, who had sent a byte': { bytesIn: 1, reason: 'client-reset' },
  'is reset after an answer': { bytesIn: 1, bytesOut: 1, reason: 'upstream-reset' },
  'is closed by a command': { bytesIn: 1, reason: 'closed' },
  'was there before the switch': { bytesIn: 1, durationMs: 10 * long },
};

for (const [what, end] of Object.entries(harmless))
  test(`a connection that ${what} does not roll a switch back`, { timeout: 20_000 }, async () => {
    const { trial, connect } = await begin(30);
    connect().tellEnd(end);
    assert.deepEqual(await trial.outcome, { result: 'passed' });
  });

test('where nobody ever got an answer, none is expected', { timeout: 20_000 }, async () => {
  const set = openForwarder();
  await set.forwarder.start(first);
  set.connect();
  set.engine.upstreams[0]!.bytesOut = 0;
  await set.forwarder.switch(second.src, second.dst, { trialMs: 30 });
  const trial = set.forwarder.trialOf(first.src);
  set.connect().tellEnd({ bytesIn: 7 });
  assert.deepEqual(await trial?.outcome, { result: 'passed' });
});

test(
  'a switch is rolled back when clients have sent, and waited for half of the time in vain',
  { timeout: 20_000 },
  async () => {
    const { trial, connect, table } = await begin(100);
    connect().bytesOut = 0;
    const outcome = await trial.outcome;
    assert.match(outcome.result === 'rolled back' ? outcome.why : '', /no byte came back within 0\.05 s/);
    assert.deepEqual(table(), [
      [a, 1, true],
      [b, 1, false],
    ]);
  },
);

test(
  'a switch is rolled back when no client could be connected within half of the time',
  { timeout: 20_000 },
  async () => {
    const { trial, connect } = await begin(100);
    connect().dialing = 1;
    const outcome = await trial.outcome;
    assert.match(outcome.result === 'rolled back' ? outcome.why : '', /no answer to a connect within 0\.05 s/);
  },
);

test('another switch of the rule ends the trial, and holds', { timeout: 20_000 }, async () => {
  const { trial, forwarder, table, stored } = await begin(long);
  await forwarder.switch(third.src, third.dst);
  assert.deepEqual(await trial.outcome, { result: 'superseded' });
  assert.deepEqual(stored(), [c]);
  assert.deepEqual(table(), [
    [c, 0, true],
    [a, 1, false],
  ]);
});

test('a plain switch to the destination that is tried is for good', { timeout: 20_000 }, async () => {
  const { trial, forwarder, stored } = await begin(long);
  assert.equal(await forwarder.switch(second.src, second.dst), true);
  assert.deepEqual(await trial.outcome, { result: 'superseded' });
  assert.deepEqual(stored(), [b]);
});

test('of two trials in a row the second goes back to where the rule goes for good', { timeout: 20_000 }, async () => {
  const { forwarder, connect, stored, table } = await begin(long);
  await forwarder.switch(third.src, third.dst, { trialMs: long });
  const trial = forwarder.trialOf(first.src);
  connect().tellEnd({ stage: 'dial', reason: 'dial-refused', error: refused });
  assert.equal((await trial?.outcome)?.result, 'rolled back');
  assert.deepEqual([stored(), table()], [[a], [[a, 1, true]]]);
});

test('a destination that has drained can be gone back to all the same', { timeout: 20_000 }, async () => {
  const { trial, before, connect } = await begin(long);
  before.end();
  connect().tellEnd({ stage: 'dial', reason: 'dial-refused', error: refused });
  await trial.outcome;
  assert.equal(connect(), before);
  assert.equal(before.isForgotten, false);
});

test('a switch that passes and cannot be stored is rolled back', { timeout: 20_000 }, async () => {
  let isFull = false;
  const save = async () => {
    if (isFull) throw new GraceError('disk full');
  };
  const { trial, table } = await begin(30, { save });
  isFull = true;
  assert.deepEqual(await trial.outcome, { result: 'rolled back', why: 'disk full' });
  assert.deepEqual(table(), [[a, 1, true]]);
});

test('a rule that is stopped ends its trial', { timeout: 20_000 }, async () => {
  const { trial, forwarder } = await begin(long);
  await forwarder.stop(first.src);
  assert.deepEqual(await trial.outcome, { result: 'superseded' });
});

test('a trial goes on in the successor, and whoever waits is told to ask there', { timeout: 20_000 }, async () => {
  const { trial, forwarder } = await begin(long);
  const { forwarder: next, listener, connect, table, stored } = openForwarder();
  const carried = { bytesIn: 0, bytesOut: 0, since: '' };
  next.adoption.adoptRule(second, listener, {
    ...carried,
    others: [{ ...carried, dst: first.dst }],
    trial: { before: { dst: first.dst }, watched: second.dst, leftMs: trial.leftMs },
  });
  (await forwarder.standStill()).handOver(new Error('replaced'));
  await assert.rejects(trial.outcome, /replaced/);
  const inherited = next.trialOf(first.src);
  assert.ok((inherited?.leftMs ?? 0) > long / 2);
  connect().tellEnd({ stage: 'dial', reason: 'dial-refused', error: refused });
  assert.equal((await inherited?.outcome)?.result, 'rolled back');
  assert.deepEqual([table(), stored()], [[[a, 0, true]], undefined]);
});
