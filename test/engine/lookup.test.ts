import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Names } from '../../src/engine/lookup.ts';

const any = { bindAddress: null, signal: new AbortController().signal };

/** Time that passes when a test says so. */
function mockClock(t: TestContext): { now: number } {
  const clock = { now: 0 };
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => clock.now);
  t.after(() => t.mock.reset()); // Deno does not by itself
  return clock;
}

/** A system's resolver whose answers a test gives. */
class Resolver {
  readonly asked: string[] = [];
  readonly #open = new Map<string, PromiseWithResolvers<readonly string[]>>();

  readonly ask = (host: string): Promise<readonly string[]> => {
    this.asked.push(host);
    const answer = Promise.withResolvers<readonly string[]>();
    this.#open.set(host, answer);
    return answer.promise;
  };

  answer(host: string, ...addresses: string[]): void {
    this.#open.get(host)?.resolve(addresses);
  }

  fail(host: string, code: string): void {
    this.#open.get(host)?.reject(Object.assign(new Error(code), { code }));
  }
}

test('an address resolves to itself, and a name to addresses of the family that is bound', async () => {
  const names = new Names();
  assert.deepEqual(await names.resolve('::1', any), ['::1']);
  assert.deepEqual(await names.resolve('localhost', { ...any, bindAddress: '127.0.0.2' }), ['127.0.0.1']);
});

test('an abort ends the wait for an answer', async () => {
  const controller = new AbortController();
  const resolver = new Resolver();
  const waiting = new Names({ ask: resolver.ask }).resolve('dead.test', {
    bindAddress: null,
    signal: controller.signal,
  });
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
});

test('all who ask for a name at once share one lookup', async () => {
  const resolver = new Resolver();
  const names = new Names({ ask: resolver.ask });
  const both = Promise.all([names.resolve('a.test', any), names.resolve('a.test', any)]);
  resolver.answer('a.test', '127.0.0.1', '127.0.0.2', '::1');
  assert.deepEqual(await both, [
    ['127.0.0.1', '::1', '127.0.0.2'],
    ['127.0.0.1', '::1', '127.0.0.2'],
  ]);
  assert.deepEqual(resolver.asked, ['a.test']);
});

test('names that no server answers for hold up no name of the hosts file, and what nobody waits for is never asked', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'grace-hosts-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const hostsFile = join(dir, 'hosts');
  writeFileSync(hostsFile, '127.0.0.1 localhost\n127.0.0.1 Good.test # dead9.test\n');
  const resolver = new Resolver();
  const names = new Names({ ask: resolver.ask, hostsFile });
  const controller = new AbortController();
  const dead = Array.from({ length: 30 }, (_, number) =>
    names.resolve(`dead${number}.test`, { bindAddress: null, signal: controller.signal }).catch(() => {}),
  );
  const good = names.resolve('good.test', any);
  resolver.answer('good.test', '127.0.0.1');
  assert.deepEqual(await good, ['127.0.0.1']);
  const asked = resolver.asked.length;
  assert.ok(asked < 20, `${asked} at once`);
  controller.abort(new Error('gone'));
  await Promise.all(dead);
  resolver.fail('dead0.test', 'EAI_AGAIN');
  const last = names.resolve('last.test', any);
  while (!resolver.asked.includes('last.test')) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(resolver.asked.length, asked + 1);
  resolver.answer('last.test', '127.0.0.9');
  assert.deepEqual(await last, ['127.0.0.9']);
});

test('while a new answer is awaited, and when the name servers are silent, the last good one is used', async (t) => {
  const clock = mockClock(t);
  const resolver = new Resolver();
  const names = new Names({ ask: resolver.ask });
  const first = names.resolve('a.test', any);
  resolver.answer('a.test', '127.0.0.1');
  await first;
  clock.now += 5000;
  const second = names.resolve('a.test', any);
  t.mock.timers.tick(1000);
  assert.deepEqual(await second, ['127.0.0.1']);
  const third = names.resolve('a.test', any);
  resolver.fail('a.test', 'EAI_AGAIN');
  assert.deepEqual(await third, ['127.0.0.1']);
  const fourth = names.resolve('a.test', any);
  resolver.answer('a.test', '127.0.0.2');
  assert.deepEqual(await fourth, ['127.0.0.2']);
  clock.now += 5000;
  const fifth = names.resolve('a.test', any);
  resolver.fail('a.test', 'EAI_FAIL');
  assert.deepEqual(await fifth, ['127.0.0.2']);
  const sixth = names.resolve('a.test', any);
  resolver.fail('a.test', 'ENOTFOUND');
  await assert.rejects(sixth, { code: 'ENOTFOUND' });
  // It was taken back.
  const seventh = names.resolve('a.test', any);
  resolver.fail('a.test', 'EAI_AGAIN');
  await assert.rejects(seventh, { code: 'EAI_AGAIN' });
});

test('names that were slow to be answered leave room for others, and their last good answer is used without a wait', async (t) => {
  const clock = mockClock(t);
  const resolver = new Resolver();
  const names = new Names({ ask: resolver.ask, hostsFile: '/nowhere' });
  const first = names.resolve('a.test', any);
  resolver.answer('a.test', '127.0.0.1');
  await first;
  clock.now += 2000;
  const slow = names.resolve('a.test', any);
  t.mock.timers.tick(1000);
  assert.deepEqual(await slow, ['127.0.0.1']);
  // Many names that nobody answers for: those that have been asked for long make room.
  for (let number = 0; number < 40; number++) names.resolve(`dead${number}.test`, any).catch(() => {});
  const asked = resolver.asked.length;
  for (let round = 0; round < 10; round++) t.mock.timers.tick(1000);
  assert.ok(resolver.asked.length > asked && resolver.asked.length <= 22, `${resolver.asked.length} at once`);
  const again = names.resolve('a.test', any);
  t.mock.timers.tick(0);
  assert.deepEqual(await again, ['127.0.0.1']);
});

test('a name that was not answered in time waits for no name that was, and holds none up', async (t) => {
  const clock = mockClock(t);
  const resolver = new Resolver();
  const names = new Names({ ask: resolver.ask, hostsFile: '/nowhere' });
  const dead = Array.from({ length: 10 }, (_, number) => `dead${number}.test`);
  for (const batch of [dead.slice(0, 5), dead.slice(5)]) {
    const failures = batch.map((name) => assert.rejects(names.resolve(name, any)));
    clock.now += 10_000;
    t.mock.timers.tick(10_000);
    for (const name of batch) resolver.fail(name, 'EAI_AGAIN');
    await Promise.all(failures);
  }
  const failures = dead.map((name) => names.resolve(name, any).catch(() => {}));
  const good = names.resolve('good.test', any);
  resolver.answer('good.test', '127.0.0.9');
  assert.deepEqual(await good, ['127.0.0.9']);
  for (const name of dead) resolver.fail(name, 'EAI_AGAIN');
  await Promise.all(failures);
});
