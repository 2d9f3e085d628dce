import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryTrimmer } from '../../src/daemon/trim-memory.ts';
import type { MemoryTrimmerOptions } from '../../src/daemon/trim-memory.ts';

const timeout = 10_000;

/** A watch whose looks a test waits for, and what it did at each. */
function watch(traffic: () => number, more: Pick<MemoryTrimmerOptions, 'underTraffic'> = {}) {
  let looked = Promise.withResolvers<void>();
  let given = 0;
  const keepAlive = setInterval(() => {}, 1000);
  const rest = new MemoryTrimmer({
    startMs: 1,
    quietMs: 1,
    lookMs: 1,
    look: () => {
      looked.resolve();
      looked = Promise.withResolvers<void>();
      return `${traffic()}`;
    },
    giveBack: () => void given++,
    ...more,
  });
  return {
    rest,
    looks: async (count: number) => {
      for (let look = 0; look < count; look++) await looked.promise;
      return given;
    },
    [Symbol.dispose]() {
      clearInterval(keepAlive);
      rest.stop();
    },
  };
}

test('memory is given back once when nothing happens any more', { timeout }, async () => {
  using watched = watch(() => 1);
  watched.rest.disturb();
  assert.equal(await watched.looks(9), 1);
});

test('no memory is given back while traffic comes, nor before the first command', { timeout }, async () => {
  let bytes = 0;
  using watched = watch(() => bytes++);
  watched.rest.disturb();
  assert.equal(await watched.looks(9), 0);
});

test('memory is given back anew after a command, and after traffic', { timeout }, async () => {
  let bytes = 0;
  using watched = watch(() => bytes);
  watched.rest.disturb();
  assert.equal(await watched.looks(6), 1);
  watched.rest.disturb();
  assert.equal(await watched.looks(6), 2);
  bytes = 100;
  assert.equal(await watched.looks(9), 3);
});

test(
  'what starting needed is given back once while traffic comes, and pages ever after, where that disturbs nobody',
  { timeout },
  async () => {
    let bytes = 0;
    const given: string[] = [];
    const underTraffic = {
      giveBackStart: () => void given.push('start'),
      giveBackPages: () => void given.push('pages'),
    };
    using watched = watch(() => bytes++, { underTraffic });
    watched.rest.disturb();
    assert.equal(await watched.looks(9), 0);
    assert.deepEqual(given.slice(0, 3), ['start', 'pages', 'pages']);
    assert.equal(given.indexOf('start', 1), -1);
  },
);

test('pages alone are given back after a rest, when what starting needed went with all else', { timeout }, async () => {
  let bytes = 0;
  const given: string[] = [];
  const underTraffic = { giveBackStart: () => void given.push('start'), giveBackPages: () => void given.push('pages') };
  using watched = watch(() => bytes, { underTraffic });
  watched.rest.disturb();
  assert.equal(await watched.looks(4), 1);
  const traffic = setInterval(() => bytes++, 0);
  await watched.looks(6);
  clearInterval(traffic);
  assert.ok(given.length > 0 && given.every((what) => what === 'pages'), given.join());
});
