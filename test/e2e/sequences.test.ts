/**
 * Random sequences of start, stop, restart, signals and crashes, some of them two at once, in one state
 * dir. What must be so after each step:
 *
 *   1. At most one daemon serves the state dir: the processes of it are the one that `status` names, its
 *      keeper, and the generations that it lists; nothing else stays.
 *   2. grace.pid names the keeper, or the daemon where it has none; there is no grace.pid without a daemon.
 *   3. A rule in state.json is served, or the log says why not.
 *   4. A command that succeeded has done what it says; one that failed has changed nothing; rules that a
 *      step does not touch stay as they are.
 *   5. A command ends, with a code of the contract's table, and prints no stack trace; that a rule is not
 *      forwarded is said only where it may be so.
 *   6. In the end `stop` leaves no process, no socket and no temporary file.
 *
 * The seed is in the test's name. GRACE_SEQUENCES (a number, default 2) and GRACE_SEED (the first seed)
 * choose others; GRACE_RESTARTS (default 12) is for the leak test.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startGreeter } from './connecting-clients.ts';
import { makeGrace } from './grace.ts';
import type { Grace, Outcome } from './grace.ts';
import { descriptorsOf, pidInFile, processesOf } from './processes.ts';
import { randomNumbers } from '../random.ts';
import { until } from '../until.ts';

const sequences = Number(process.env['GRACE_SEQUENCES'] ?? 2);
const firstSeed = Number(process.env['GRACE_SEED'] ?? 20_261);
const restarts = Number(process.env['GRACE_RESTARTS'] ?? 12);
const stepsPerSequence = 14;
const ruleCount = 3;

type Operation =
  | { kind: 'start' | 'stop rule'; rule: number }
  | { kind: 'restart' | 'stop' | 'kill daemon' | 'kill keeper' | 'kill both' }
  | { kind: 'signal'; signal: 'SIGTERM' | 'SIGHUP' | 'SIGUSR1' | 'SIGUSR2' };

/** How often each is drawn, relative to the others. */
const weights: [weight: number, make: (random: () => number) => Operation][] = [
  [6, (random) => ({ kind: 'start', rule: Math.floor(random() * ruleCount) })],
  [2, (random) => ({ kind: 'stop rule', rule: Math.floor(random() * ruleCount) })],
  [4, () => ({ kind: 'restart' })],
  [1, () => ({ kind: 'stop' })],
  [3, () => ({ kind: 'kill daemon' })],
  [1, () => ({ kind: 'kill keeper' })],
  [1, () => ({ kind: 'kill both' })],
  [
    2,
    (random) => ({
      kind: 'signal',
      signal: (['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)[Math.floor(random() * 4)]!,
    }),
  ],
];

function drawOperation(random: () => number): Operation {
  let left = random() * weights.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, make] of weights) {
    left -= weight;
    if (left < 0) return make(random);
  }
  return { kind: 'restart' };
}

type Status = { pid: number; keeper: { pid: number } | null; generations: { pid: number }[] };

class World {
  readonly grace: Grace;
  readonly #target: string;

  constructor(grace: Grace, target: string) {
    this.grace = grace;
    this.#target = target;
  }

  path(rule: number): string {
    return `${this.grace.dir}-${rule}.sock`;
  }

  async perform(operation: Operation): Promise<Outcome | null> {
    const { grace } = this;
    switch (operation.kind) {
      case 'start':
        return await grace.run('start', `unix:${this.path(operation.rule)}`, this.#target);
      case 'stop rule':
        return await grace.run('stop', `unix:${this.path(operation.rule)}`, '--now');
      case 'stop':
        return await grace.run('stop', '--now');
      case 'restart':
        return await grace.run('restart');
      case 'signal':
        this.#signal(pidInFile(join(grace.dir, 'grace.pid')), operation.signal);
        return null;
      default: {
        const { pid, keeper } = (await this.status()) ?? {};
        if (operation.kind !== 'kill daemon') this.#signal(keeper?.pid, 'SIGKILL');
        if (operation.kind !== 'kill keeper') this.#signal(pid, 'SIGKILL');
        return null;
      }
    }
  }

  #signal(pid: number | null | undefined, signal: NodeJS.Signals): void {
    // The number may be another's by now: only what belongs to this state dir is meant.
    if (!pid || !this.processes().includes(pid)) return;
    process.kill(pid, signal);
  }

  processes(): number[] {
    return processesOf(this.grace.dir).flatMap(({ pid, state }) => (state === 'Z' ? [] : [pid]));
  }

  async status(): Promise<Status | null> {
    const { code, stdout } = await this.grace.run('status', '--json');
    return code === 0 ? (JSON.parse(stdout) as Status) : null;
  }

  /** Rules in state.json. */
  kept(): Set<number> {
    const file = join(this.grace.dir, 'state.json');
    if (!existsSync(file)) return new Set();
    const { rules }: { rules: { src: { absolute: string } }[] } = JSON.parse(readFileSync(file, 'utf8'));
    const all = Array.from({ length: ruleCount }, (_, rule) => rule);
    return new Set(all.filter((rule) => rules.some(({ src }) => src.absolute === `unix:${this.path(rule)}`)));
  }

  /** Wait until nothing is under way any more, and look. */
  async settle(): Promise<Status | null> {
    let status: Status | null = null;
    let seen = '';
    await until(`the processes are those that status names`, async () => {
      status = await this.status();
      const named = status ? [status.pid, status.keeper?.pid, ...status.generations.map(({ pid }) => pid)] : [];
      const running = this.processes();
      seen = JSON.stringify({ status, running });
      const file = pidInFile(join(this.grace.dir, 'grace.pid'));
      const isNamed = status ? file === (status.keeper?.pid ?? status.pid) : file === null || !running.includes(file);
      return isNamed && running.every((pid) => named.includes(pid)) && (status === null) === (running.length === 0);
    }).catch((error: unknown) => assert.fail(`${String(error)}: ${seen}`));
    return status;
  }

  /** Whether a rule answers. */
  answers(rule: number): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.path(rule));
      const end = (isServed: boolean) => {
        clearTimeout(timer);
        socket.destroy();
        resolve(isServed);
      };
      const timer = setTimeout(end, 60_000, false); // no pause: how long an answer may take at the most
      socket
        .on('data', () => end(true))
        .on('error', () => end(false))
        .on('close', () => end(false));
    });
  }
}

async function takeStep(world: World, operations: readonly Operation[]): Promise<void> {
  const before = world.kept();
  const outcomes = await Promise.all(operations.map((operation) => world.perform(operation)));
  for (const [index, outcome] of outcomes.entries()) {
    if (!outcome) continue;
    const operation = operations[index]!;
    const isMeantTwice =
      operations.filter((other) => 'rule' in other && 'rule' in operation && other.rule === operation.rule).length > 1;
    const mayBeAway = operation.kind === 'stop rule' && (isMeantTwice || !before.has(operation.rule));
    assert.ok(
      [0, 1, 3, ...(mayBeAway ? [4] : [])].includes(outcome.code ?? -1),
      `${JSON.stringify(operation)}: ${outcome.code} ${outcome.stderr}`,
    );
    assert.doesNotMatch(outcome.stderr, /\n\s+at /);
    assert.equal(outcome.code === 0, outcome.stderr === '' || outcome.stdout !== '', outcome.stderr);
  }
  const status = await world.settle();
  const after = world.kept();
  for (let rule = 0; rule < ruleCount; rule++) {
    const touching = operations.flatMap((operation, index) =>
      'rule' in operation && operation.rule === rule ? [{ kind: operation.kind, code: outcomes[index]?.code }] : [],
    );
    const succeeded = touching.filter(({ code }) => code === 0);
    // A command that a crash cut off may have done its work before.
    if (touching.length === 0) assert.equal(after.has(rule), before.has(rule), `rule ${rule} is not what was touched`);
    else if (touching.length === 1 && succeeded.length === 1)
      assert.equal(after.has(rule), succeeded[0]!.kind === 'start');
  }
  if (status === null) return;
  for (const rule of after) {
    const isServed = await world.answers(rule);
    assert.ok(
      isServed || world.grace.log().includes(`cannot forward unix:${world.path(rule)}`),
      `rule ${rule} is kept and not served`,
    );
  }
}

async function play(t: TestContext, seed: number): Promise<void> {
  const random = randomNumbers(seed);
  const grace = makeGrace(t);
  const greeter = await startGreeter();
  t.after(() => greeter.server.close());
  const world = new World(grace, `tcp:127.0.0.1:${greeter.port}`);
  const history: string[] = [];
  try {
    for (let step = 0; step < stepsPerSequence; step++) {
      const operations = random() < 0.35 ? [drawOperation(random), drawOperation(random)] : [drawOperation(random)];
      history.push(operations.map((operation) => Object.values(operation).join(' ')).join(' + '));
      await takeStep(world, operations);
    }
    history.push('the end');
    await grace.ok('start', `unix:${world.path(0)}`, `tcp:127.0.0.1:${greeter.port}`);
    await grace.ok('stop', '--now');
    assert.equal(await world.settle(), null);
    const left = readdirSync(grace.dir).filter(
      (name) => !['grace.lock', 'start.lock', 'grace.log', 'state.json', 'counters.json'].includes(name),
    );
    assert.deepEqual(left, []);
    for (let rule = 0; rule < ruleCount; rule++) assert.equal(await world.answers(rule), false);
  } catch (error) {
    t.diagnostic(`steps: ${history.join('; ')}`);
    t.diagnostic(grace.log().split('\n').slice(-30).join('\n'));
    throw error;
  }
  t.diagnostic(`${history.length - 1} steps: ${history.join('; ')}`);
}

for (let seed = firstSeed; seed < firstSeed + sequences; seed++) {
  test(`the invariants hold over the random sequence of seed ${seed}`, { timeout: 180_000 }, (t) => play(t, seed));
}

test(
  `${restarts} restarts leave no descriptor and no process behind`,
  { timeout: 180_000 + restarts * 3000 },
  async (t) => {
    const grace = makeGrace(t);
    const greeter = await startGreeter();
    t.after(() => greeter.server.close());
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', `tcp:127.0.0.1:${greeter.port}`);
    const count = async () => {
      const { pid, keeper } = await grace.status();
      assert.ok(keeper);
      await until('nobody else is there', () => processesOf(grace.dir).length === 2);
      return { daemon: descriptorsOf(pid).size, keeper: descriptorsOf(keeper.pid).size };
    };
    for (let round = 0; round < 3; round++) await grace.ok('restart');
    const before = await count();
    for (let round = 3; round < restarts; round++) await grace.ok('restart');
    let after = await count();
    // The connection of the last command may be open for a moment longer.
    const isMore = () => after.daemon > before.daemon || after.keeper > before.keeper;
    for (let look = 0; look < 20 && isMore(); look++) after = await count();
    t.diagnostic(`after 3 restarts ${JSON.stringify(before)}, after ${restarts} ${JSON.stringify(after)}`);
    assert.ok(!isMore(), `after 3 restarts ${JSON.stringify(before)}, after ${restarts} ${JSON.stringify(after)}`);
  },
);
