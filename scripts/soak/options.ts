/** What is asked of a soak. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parseDuration } from '../../src/endpoint/duration.ts';
import { eventNames } from './events.ts';

/** How long, how much, and which of the things that can happen do. */
export type Options = {
  /** Time in which connections are made and things happen, in milliseconds. */
  timeMs: number;
  /** Connections at once. */
  connections: number;
  /** Events and connections are drawn from it. */
  seed: number;
  engine: 'native' | 'portable';
  /** The executable. */
  grace: string;
  /** Names of events; empty for none. */
  events: readonly string[];
};

/** Read a command line. Throws an `Error` that says what is wrong with it. */
export function parseOptions(args: readonly string[], { root }: { root: string }): Options {
  const { values: flags, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      connections: { type: 'string', default: '2000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      engine: { type: 'string', default: 'native' },
      binary: { type: 'string', default: join(root, 'dist/grace') },
      events: { type: 'string', default: eventNames.join(',') },
    },
  });
  const [time = '10m', ...more] = positionals;
  const timeMs = parseDuration(time);
  if (timeMs === null || timeMs === 0 || more.length > 0)
    throw new Error(`how long is one duration, such as 30m, not "${positionals.join(' ')}"`);
  if (flags.engine !== 'native' && flags.engine !== 'portable')
    throw new Error(`--engine takes native or portable, not "${flags.engine}"`);
  if (!existsSync(flags.binary)) throw new Error(`there is no ${flags.binary}: npm run build`);
  const events = flags.events === 'none' ? [] : flags.events.split(',');
  const unknown = events.find((name) => !eventNames.includes(name));
  if (unknown !== undefined) throw new Error(`there is no event "${unknown}"; there are ${eventNames.join(', ')}`);
  return {
    timeMs,
    connections: wholeNumber(flags.connections, '--connections', 1),
    seed: wholeNumber(flags.seed, '--seed', 0),
    engine: flags.engine,
    grace: resolve(flags.binary),
    events,
  };
}

function wholeNumber(text: string, flag: string, least: number): number {
  if (!/^[0-9]{1,9}$/.test(text) || Number(text) < least)
    throw new Error(`${flag} takes a whole number from ${least}, not "${text}"`);
  return Number(text);
}
