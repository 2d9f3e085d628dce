/** What happens to the daemon and around it while connections are open, drawn from the seed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../test/random.ts';
import type { Kind } from './plan.ts';
import type { Ground, Rule } from './rule.ts';

/** Where events happen. */
export type Scene = Ground & {
  rules: readonly Rule[];
  /** Copies of the executable, to be changed for each other. */
  executables: readonly string[];
  engine: 'native' | 'portable';
};

type Event = {
  weight: number;
  /** Why it cannot happen here; false where it can. */
  obstacle?: () => string | false;
  /** Make it happen; resolves when it is over, to what has happened in particular. */
  happen: (scene: Scene, random: Random) => Promise<string>;
};

const events: Readonly<Record<string, Event>> = {
  switch: {
    weight: 5,
    async happen({ rules }, random) {
      const rule = random.pick(rules);
      return (await rule.switchOver({ checks: random.chance(0.7) })).name;
    },
  },
  hold: {
    weight: 3,
    async happen({ rules, daemon, pacer }, random) {
      const { name } = random.pick(rules);
      const holdMs = 300 + random.below(2500);
      await daemon.ok('hold', name, '--drain', '0s');
      await pacer.pause(holdMs);
      await daemon.ok('release', name);
      return `${name} for ${holdMs} ms`;
    },
  },
  restart: {
    weight: 4,
    async happen({ daemon }) {
      const said = await daemon.ok('restart', '--timeout', '100s');
      await daemon.look();
      return said.trim().replaceAll('\n', '; ');
    },
  },
  upgrade: {
    weight: 2,
    async happen({ daemon, executables }, random) {
      const to = random.pick(executables);
      await daemon.ok('restart', '--timeout', '100s', '--exec', to);
      await daemon.look();
      return `to ${to}`;
    },
  },
  crash: {
    weight: 2,
    async happen({ daemon, accounts }) {
      const { pid } = daemon;
      const isOver = accounts.happens('crash', () => true);
      await daemon.kill();
      isOver();
      await daemon.look();
      return `process ${pid}; then ${daemon.pid}`;
    },
  },
  'crash in a restart': {
    weight: 1,
    async happen({ daemon, accounts, pacer }, random) {
      const afterMs = random.below(500);
      const restarting = daemon.run('restart', '--timeout', '100s');
      await pacer.pause(afterMs);
      const isOver = accounts.happens('crash in a restart', () => true);
      await daemon.kill();
      const { code } = await restarting;
      await daemon.look();
      isOver();
      return `after ${afterMs} ms; the restart ended with ${code}`;
    },
  },
  'no descriptors': {
    weight: 2,
    obstacle: () => (spawnSync('prlimit', ['--version']).error ? 'there is no prlimit' : false),
    async happen({ daemon, accounts, pacer, engine }, random) {
      const { pid } = daemon;
      const whileMs = 500 + random.below(3000);
      const used = readdirSync(`/proc/${pid}/fd`).length;
      const [, before = ''] = /^Max open files +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
      // The native engine leaves clients in the queue, and goes on trying for as long as a dial may take. Below the other
      // one libuv is rid of who waits, by accepting and closing: who has TLS or a PROXY header is its client in any case.
      const isItsClient = (kind: Kind) => ['tls', 'tls-dialled', 'proxy-accepted'].includes(kind);
      const isOver = accounts.happens('no descriptors', ({ plan }) => engine === 'portable' || isItsClient(plan.kind));
      execFileSync('prlimit', ['--pid', `${pid}`, `--nofile=${used}:`]);
      await pacer.pause(whileMs);
      execFileSync('prlimit', ['--pid', `${pid}`, `--nofile=${before}:`]);
      isOver();
      return `more than ${used} for ${whileMs} ms`;
    },
  },
  'slow destination': {
    weight: 3,
    async happen({ rules, pacer }, random) {
      const destination = random.pick(random.pick(rules).destinations);
      const slowMs = 500 + random.below(4000);
      destination.beSlow(true);
      await pacer.pause(slowMs);
      destination.beSlow(false);
      return `${destination.name} for ${slowMs} ms`;
    },
  },
  'dead destination': {
    weight: 2,
    async happen({ rules, pacer, accounts }, random) {
      const rule = random.pick(rules);
      const destination = random.pick(rule.destinations);
      const deadMs = 200 + random.below(2000);
      const isOver = accounts.happens(
        'dead destination',
        ({ plan, cameTo, expects }) =>
          plan.kind === rule.kind && (cameTo ?? expects ?? destination.name) === destination.name,
      );
      destination.crash();
      await pacer.pause(deadMs);
      await destination.open();
      isOver();
      return `${destination.name} for ${deadMs} ms`;
    },
  },
  'rule that comes and goes': {
    weight: 1,
    async happen({ rules, daemon, dir }, random) {
      const rule = random.pick(rules);
      const src = `unix:${join(dir, 'passing.sock')}`;
      await daemon.ok('start', src, rule.dst(rule.destinations[0]));
      await daemon.ok('stop', src);
      return `to ${rule.destinations[0].name}`;
    },
  },
  signal: {
    weight: 1,
    happen({ daemon }, random) {
      const signal = random.pick(['SIGHUP', 'SIGUSR1'] as const);
      daemon.keeper.kill(signal);
      return Promise.resolve(signal);
    },
  },
  look: {
    weight: 2,
    async happen({ daemon }) {
      const commands = [['ls'], ['ls', '--connections', '--json'], ['status'], ['metrics']];
      await Promise.all(commands.map((words) => daemon.ok(...words)));
      return 'ls, connections, status and metrics at once';
    },
  },
};

/** Names of all events. */
export const eventNames: readonly string[] = Object.keys(events);

/** Those of these names that can happen here, and why the others cannot. */
export function possibleEvents(names: readonly string[]): { names: string[]; obstacles: string[] } {
  const obstacles: string[] = [];
  const possible = names.filter((name) => {
    const obstacle = events[name]!.obstacle?.() ?? false;
    if (obstacle !== false) obstacles.push(`${name}: ${obstacle}`);
    return obstacle === false;
  });
  return { names: possible, obstacles };
}

/** The order in which these events happen: each of them once, and then as they are drawn by weight, for ever. */
export function* orderOf(names: readonly string[], random: Random): Generator<string, never> {
  const left = [...names];
  while (left.length > 0) yield left.splice(random.below(left.length), 1)[0]!;
  const weighted = names.flatMap((name) => Array.from({ length: events[name]!.weight }, () => name));
  for (;;) yield random.pick(weighted);
}

/** Have an event happen. Resolves to what has happened in particular; rejects when it did not go as it should. */
export async function happen(name: string, scene: Scene, random: Random): Promise<string> {
  try {
    return await events[name]!.happen(scene, random);
  } catch (error) {
    throw new Error(`event "${name}": ${(error as Error).message}`, { cause: error });
  }
}
