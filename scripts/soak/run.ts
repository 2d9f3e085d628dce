/** A soak from its beginning to its verdict. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomNumbers, seededRandom } from '../../test/random.ts';
import { isRunning } from '../../src/sys/process.ts';
import { until } from '../../test/until.ts';
import { Accounts } from './accounts.ts';
import { connectAndPlay } from './connection.ts';
import { Daemon } from './daemon.ts';
import { happen, orderOf, possibleEvents } from './events.ts';
import type { Scene } from './events.ts';
import { makeIdentity } from './identity.ts';
import type { Options } from './options.ts';
import { Pacer } from './pacer.ts';
import { calmnessOf, kinds, placesOf, planOf } from './plan.ts';
import type { Kind } from './plan.ts';
import { failureLines, sampleLine, summary } from './report.ts';
import { Rule } from './rule.ts';
import type { Ground } from './rule.ts';
import { takeSample, trendsOf, useOf } from './sampler.ts';
import type { Sample } from './sampler.ts';

/** Between two events, in milliseconds: the shortest and the longest. */
const betweenEventsMs = { least: 500, most: 6000 };
/** A connection on which nothing moves for so much longer than its own pause is stuck, in milliseconds. */
const stuckMs = 120_000;
/** A place is taken so much later than the one before it, in milliseconds. */
const rampMs = 3;
/** What has ended is forgotten by all processes within so long, in milliseconds. */
const settleMs = 120_000;
/** Descriptors that may have come to stay: pipes, files, a connection of a command. */
const descriptorsMore = 32;

/** Run one. Resolves to whether all was in order; `say` gets a line at a time, `interrupt` ends it early. */
export async function soak(
  { timeMs, connections, seed, engine, grace, events: wanted }: Options,
  { say, interrupt }: { say: (line: string) => void; interrupt: AbortSignal },
): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'grace-soak-'));
  const executables = [0, 1].map((number) => join(dir, `grace-${number}`));
  for (const copy of executables) copyFileSync(grace, copy);
  const accounts = new Accounts();
  const pacer = new Pacer();
  const identity = makeIdentity(dir);
  const { names, obstacles } = possibleEvents(wanted);
  if (identity === null) obstacles.push('kinds with TLS: there is no openssl');
  for (const obstacle of obstacles) say(`left out: ${obstacle}`);
  const daemon = await Daemon.start({ file: executables[0]!, dir, engine });
  const ground: Ground = { daemon, accounts, pacer, host: ownAddress(), dir, identity };
  const rules = kinds
    .filter((kind) => identity !== null || !kind.startsWith('tls'))
    .map((kind) => new Rule(kind, ground));
  let begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  const tell = (text: string) => say(`${clock(seconds())} ${text}`);
  const samples: Sample[] = [];
  const happened = new Map<string, number>();
  try {
    for (const rule of rules) await rule.start();
    say(
      `seed ${seed}: ${connections} connections for ${clock(timeMs / 1000)}, ${engine} engine, daemon ${daemon.pid}, keeper ${daemon.keeper.pid}, in ${dir}`,
    );
    begun = performance.now();
    const atRest = useOf(daemon.pid)?.descriptors ?? 0;
    let isOver = false;
    let next = 1;
    const end = Promise.withResolvers<void>();
    const timer = setTimeout(end.resolve, timeMs);
    interrupt.addEventListener('abort', () => end.resolve());

    const giveUp = (error: unknown) => {
      accounts.fail((error as Error).message);
      end.resolve();
    };
    const calmness = calmnessOf(connections);
    const occupy = async (kind: Kind, place: number) => {
      const rule = rules.find((each) => each.kind === kind)!;
      await pacer.pause(place * rampMs);
      while (!isOver) {
        const plan = planOf(seed, { id: next++, kind, calmness });
        const isWell = await connectAndPlay(plan, { rule, accounts, pacer, ca: identity?.cert });
        // All that a crash has cost come back within a second, and not at once.
        await pacer.pause(plan.afterMs + (isWell ? 0 : (plan.id * 37) % 1000));
      }
    };
    const available = rules.map(({ kind }) => kind);
    const places = placesOf(connections, available).map((kind, place) => occupy(kind, place).catch(giveUp));

    const samplesEveryMs = Math.min(5000, Math.max(1000, timeMs / 60));
    const tellsEvery = Math.max(1, Math.round(15_000 / samplesEveryMs));
    let looks = 0;
    const sampling = setInterval(() => {
      endStuck(accounts);
      const sample = takeSample(daemon, { at: seconds(), open: accounts.open.size });
      if (sample) samples.push(sample);
      if (sample && looks++ % tellsEvery === 0) tell(sampleLine(sample));
    }, samplesEveryMs);

    const scene: Scene = { ...ground, rules, executables, engine };
    const random = seededRandom(seed);
    const gaps = randomNumbers(seed + 1);
    const { least, most } = betweenEventsMs;
    const happening = (async () => {
      if (names.length === 0) return;
      for (const name of orderOf(names, seededRandom(seed + 2))) {
        await pacer.pause(least + gaps() * (most - least));
        if (isOver) return;
        const text = await happen(name, scene, random);
        happened.set(name, (happened.get(name) ?? 0) + 1);
        tell(`${name}: ${text}`);
      }
    })().catch(giveUp);

    await end.promise;
    clearTimeout(timer);
    isOver = true;
    tell('the end: no new connections');
    pacer.hurry();
    await happening;
    await Promise.all(places);
    clearInterval(sampling);
    await closeTheBooks({ accounts, daemon, atRest, tell });
    for (const line of (await endsByReason(daemon)).split('\n')) say(line);
  } catch (error) {
    accounts.fail(`the run: ${(error as Error).message}`);
  } finally {
    await daemon.stop();
    for (const rule of rules) rule.stop();
  }
  const trends = trendsOf(samples, { warmUpSeconds: Math.min(120, timeMs / 1000 / 4) });
  for (const { watched, isSteep, line } of trends)
    if (isSteep) accounts.fail(`${watched.name}: grows by ${(60 * line.slope).toFixed(2)} ${watched.unit} a minute`);
  say(`\n${summary({ accounts, events: happened, trends })}`);
  const isWell = accounts.failures.length === 0;
  say(
    isWell
      ? `\nall ${[...accounts.tallies.values()].reduce((sum, { done }) => sum + done, 0)} are accounted for (seed ${seed})`
      : `\n${accounts.failures.length} failures (seed ${seed}; the log is ${daemon.log}):\n${failureLines(accounts.failures)}`,
  );
  if (isWell) rmSync(dir, { recursive: true, force: true });
  return isWell;
}

/** An address on which this process alone listens: a port that is let go of for a while is nobody else's then. */
function ownAddress(): string {
  return [127, 128 + (process.pid >> 16), (process.pid >> 8) & 255, process.pid & 255].join('.');
}

function endStuck(accounts: Accounts): void {
  const now = performance.now();
  for (const entry of accounts.open.values()) {
    const lastAt = Math.max(entry.startedAt, entry.client?.lastAt ?? 0, entry.server?.lastAt ?? 0);
    if (now - lastAt < entry.plan.pauseMs + stuckMs) continue;
    accounts.settle(entry, {
      isDone: false,
      problem: { what: 'stuck', text: `nothing moved for ${Math.round((now - lastAt) / 1000)} s` },
    });
    entry.client?.socket.destroy();
    entry.server?.socket.destroy();
  }
}

/** When all connections have ended, nobody has anything left of them. */
async function closeTheBooks({
  accounts,
  daemon,
  atRest,
  tell,
}: {
  accounts: Accounts;
  daemon: Daemon;
  atRest: number;
  tell: (text: string) => void;
}): Promise<void> {
  let left = '';
  const isEmpty = async () => {
    const status = await daemon.look();
    const descriptors = useOf(daemon.pid)?.descriptors ?? 0;
    left = `${status.connections} connections, ${daemon.predecessors.length} earlier processes, ${descriptors} descriptors (${atRest} at the beginning)`;
    return status.connections === 0 && daemon.predecessors.length === 0 && descriptors <= atRest + descriptorsMore;
  };
  await until('nothing is left of the connections', isEmpty, { limitMs: settleMs }).catch(() =>
    accounts.fail(`after all connections have ended, grace still has ${left}`),
  );
  tell(`after the last connection: ${left}`);
  const { problems = [] } = await daemon.look();
  for (const problem of problems) accounts.fail(`grace status tells of a problem: ${problem}`);
  if (!isRunning(daemon.keeper.pid ?? 0)) accounts.fail('the keeper has ended');
}

/** What grace itself counted. */
async function endsByReason(daemon: Daemon): Promise<string> {
  const reasons = new Map<string, number>();
  for (const line of (await daemon.ok('metrics')).split('\n')) {
    const [, reason, count] = /^grace_connection_ends_total\{.*reason="([^"]+)".*\} ([0-9]+)/.exec(line) ?? [];
    if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + Number(count));
  }
  return `grace counted ${[...reasons]
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ')}`;
}

function clock(seconds: number): string {
  return `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
}
