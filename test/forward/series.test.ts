/** Changes that are made together: written once, in order, and as if each had come alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GraceError } from '../../src/error.ts';
import type { RuleSpec } from '../../src/forward/rule.ts';
import { openForwarder, ruleOf } from './rules.ts';

const dst = 'tcp:127.0.0.1:7500';
const sources = ['tcp:9000', 'tcp:9001', 'tcp:9002', 'tcp:9003'];
const rules = sources.map((src) => ruleOf(src, dst));
const typed = (stored: readonly RuleSpec[] | undefined) => stored?.map(({ src }) => src.typed);
const named = ({ src, ...rest }: RuleSpec, name: string): RuleSpec => ({ ...rest, src: { ...src, name } });

test('many rules are started and stopped with one write each', async () => {
  const { forwarder, saved } = openForwarder();
  const outcomes = await forwarder.startMany(rules);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    sources.map(() => 'fulfilled'),
  );
  assert.deepEqual(saved.map(typed), [sources]);
  await forwarder.stopMany(rules.slice(1).map(({ src }) => src));
  assert.deepEqual(saved.map(typed), [sources, ['tcp:9000']]);
  assert.deepEqual(typed(forwarder.specs), ['tcp:9000']);
});

test('many rules are switched with one write', async () => {
  const { forwarder, saved, table } = openForwarder();
  await forwarder.startMany(rules);
  const other = 'tcp:127.0.0.1:7600';
  await forwarder.startMany(
    sources.map((src) => ruleOf(src, other)),
    { isUpsert: true },
  );
  assert.equal(saved.length, 2);
  assert.deepEqual(
    table(),
    sources.map(() => [other, 0, true]),
  );
});

test('of many rules those before the first that cannot be are started, and no other', async () => {
  const { forwarder, saved } = openForwarder();
  await forwarder.start(ruleOf('tcp:9002', 'tcp:127.0.0.1:7600'));
  const outcomes = await forwarder.startMany(rules);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  assert.deepEqual(typed(forwarder.specs)?.sort(), ['tcp:9000', 'tcp:9001', 'tcp:9002']);
  assert.deepEqual(typed(saved.at(-1))?.sort(), ['tcp:9000', 'tcp:9001', 'tcp:9002']);
});

test('a rule that fails once it is stored is taken back, with those after it', async () => {
  const { forwarder, saved, engine } = openForwarder();
  const { openFrontend } = engine;
  let opened = 0;
  engine.openFrontend = (options) => {
    if (++opened === 3) throw new GraceError('no certificate');
    return openFrontend.call(engine, options);
  };
  const outcomes = await forwarder.startMany(rules);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'rejected'],
  );
  assert.deepEqual(saved.map(typed), [sources, ['tcp:9000', 'tcp:9001']]);
  assert.deepEqual(typed(forwarder.specs), ['tcp:9000', 'tcp:9001']);
  assert.equal(opened, 3);
});

test('nothing of many rules is started when they cannot be stored', async () => {
  const { forwarder } = openForwarder({ save: () => Promise.reject(new GraceError('disk full')) });
  const outcomes = await forwarder.startMany(rules);
  assert.ok(outcomes.every((outcome) => outcome.status === 'rejected' && /disk full/.test(String(outcome.reason))));
  assert.equal(forwarder.hasRules, false);
});

test('a write of several changes that fails is tried for each of them alone', async () => {
  const { forwarder, saved } = openForwarder({
    save: async (all) => {
      if (all.some(({ src }) => src.typed === 'tcp:9002')) throw new GraceError('too large');
    },
  });
  const outcomes = await Promise.allSettled(rules.map((rule) => forwarder.start(rule)));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(typed(saved.at(-1)), ['tcp:9000', 'tcp:9001', 'tcp:9003']);
});

test('of two rules that are given one name at once one is refused', async () => {
  const { forwarder } = openForwarder();
  const outcomes = await Promise.allSettled(rules.slice(0, 2).map((rule) => forwarder.start(named(rule, 'web'))));
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  assert.equal(forwarder.specs.length, 1);
});

test('a restart waits for many rules that are being started, and those that come later wait for it', async () => {
  const written = Promise.withResolvers<void>();
  const { forwarder, saved } = openForwarder({ save: () => written.promise });
  const started = forwarder.startMany(rules.slice(0, 2));
  const standing = forwarder.standStill();
  const later = forwarder.startMany(rules.slice(2));
  written.resolve();
  const standstill = await standing;
  assert.deepEqual(typed(forwarder.specs), sources.slice(0, 2));
  await started;
  standstill.release();
  await later;
  assert.deepEqual(saved.map(typed), [sources.slice(0, 2), sources]);
});

test('while many rules are started others have their turns, before all of them are', async () => {
  const { forwarder, engine } = openForwarder();
  const { openFrontend } = engine;
  let opened = 0;
  engine.openFrontend = (options) => {
    opened++;
    // As one that reads a directory of certificates.
    for (const endMs = performance.now() + 15; performance.now() < endMs;);
    return openFrontend.call(engine, options);
  };
  const seen = new Set<number>();
  const timer = setInterval(() => seen.add(opened), 1);
  await forwarder.startMany(rules);
  clearInterval(timer);
  assert.equal(opened, rules.length);
  assert.ok(
    [...seen].some((count) => count > 0 && count < rules.length),
    `turns after ${[...seen].join()} of ${rules.length}`,
  );
});
