/** A forward, and everything that may happen to it while clients use it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { makeGrace, runtime } from '../e2e/grace.ts';
import type { Grace } from '../e2e/grace.ts';
import { kill } from '../e2e/processes.ts';
import { until } from '../until.ts';

export type Forward = { grace: Grace; src: string; port: number; ways: readonly [string, string] };

/** Two ways to what is the same for its clients, and where these connect. */
export type ForwardOptions = {
  ways: readonly [string, string];
  src?: string;
  engine?: 'native' | 'portable';
};

/** The engines that this runtime has. */
export const engines = runtime === 'deno' ? (['portable'] as const) : (['native', 'portable'] as const);

/** A daemon with one rule, to the first of the ways. */
export async function startForward(
  t: TestContext,
  { ways, src = 'tcp:0:interface=127.0.0.1', engine = engines[0] }: ForwardOptions,
): Promise<Forward> {
  const grace = makeGrace(t);
  if (engine !== engines[0]) {
    grace.spawn('daemon', '--engine', engine);
    await until('the daemon runs', async () => (await grace.run('status')).code === 0);
  }
  await grace.ok('start', src, ways[0]);
  return { grace, src, port: await grace.port(src), ways };
}

export type Clients = {
  /** Asks one that stays something, over no other connection through grace; rejects when the answer is wrong. */
  session?: () => Promise<unknown>;
  /** One that comes, is served and goes; rejects when it was not served. */
  newcomer: () => Promise<unknown>;
};

/**
 * Switch, restart, hold, switch back while it is held, release. After each event, and while it is held, the session goes
 * on, and a newcomer is served.
 */
export async function disturb(
  { grace, src, ways }: Forward,
  { session = async () => {}, newcomer }: Clients,
): Promise<void> {
  const events: (() => Promise<unknown>)[] = [
    async () => {},
    () => grace.ok('switch', src, ways[1]),
    () => grace.ok('restart'),
    async () => {
      await grace.ok('hold', src, '--drain', '1ms');
      const held = newcomer();
      held.catch(() => {}); // it is awaited below
      await until('somebody waits', async () => (await grace.ls()).some((row) => (row.waiting ?? 0) > 0));
      await Promise.all([session(), grace.ok('switch', src, ways[0])]);
      await grace.ok('release', src);
      await held;
    },
  ];
  for (const event of events) {
    await event();
    await Promise.all([session(), newcomer()]);
  }
}

/** Do something over and over while something else goes on, once more after that. Returns how often it was done. */
export async function meanwhile(work: () => Promise<unknown>, goesOn: Promise<unknown>): Promise<number> {
  let isOver = false;
  let rounds = 0;
  const loop = async () => {
    for (let isLast = false; !isLast; rounds++) {
      isLast = isOver;
      await work();
    }
  };
  await Promise.all([loop(), goesOn.finally(() => (isOver = true))]);
  return rounds;
}

/**
 * Kill the daemon while newcomers come. Those that come after its death are all served, by the next daemon; one that was
 * connected may have been cut off, and was not refused.
 */
export async function crash({ grace }: Forward, newcomer: () => Promise<unknown>): Promise<void> {
  const before = await grace.status();
  assert.ok(before.keeper);
  let isDead = false;
  let served = 0;
  const loop = async () => {
    for (let after = 0; after < 2;) {
      const cameAfter = isDead;
      try {
        await newcomer();
        served++;
      } catch (error) {
        if (cameAfter || /refused/i.test(String(error))) throw new Error(`${String(error)}\n${grace.log()}`);
      }
      if (cameAfter) after++;
    }
  };
  const death = async () => {
    await until('newcomers are served', () => served >= 2);
    await kill(before.pid);
    isDead = true;
  };
  await Promise.all([loop(), loop(), death()]);
  const after = await grace.status();
  assert.notEqual(after.pid, before.pid);
  assert.equal(after.keeper?.pid, before.keeper.pid);
}
