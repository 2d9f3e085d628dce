/** What is asked of a benchmark. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** A build of grace: an executable, a bundle or a source file. The name is empty where there is only one. */
export type Build = { name: string; path: string };

/** How much the section `scale` takes. */
export type ScaleOptions = {
  /** Connections that are open at a time. */
  open: number;
  rules: number;
  /** Times that a rule is stopped and started. */
  cycles: number;
  /** Connections one after the other. */
  total: number;
  rounds: number;
};

export type Options = {
  /** Names of the sections to measure; empty for all. */
  sections: readonly string[];
  runs: number;
  rounds: number;
  /** Of one measurement, a whole number; bulk takes it each way. */
  seconds: number;
  /** Else only peers that compile as they run, to save time. */
  warmsUpAll: boolean;
  idleConnections: number;
  /** Numbers of workers that the section `threads` compares. */
  threads: readonly number[];
  engines: readonly string[];
  /** Given on the command line; empty for the build of this tree. */
  builds: readonly Build[];
  /** Parts of names of peers; null for all. */
  only: readonly string[] | null;
  scale: ScaleOptions;
  /** Peer that ratios are to. */
  reference: string;
  /** File for the results. */
  json: string | null;
};

/** @param groups names that stand for several sections */
export function parseOptions(
  args: readonly string[],
  {
    sections: known,
    groups = {},
  }: { sections: readonly string[]; groups?: Readonly<Record<string, readonly string[]>> },
): Options {
  const { values: flags, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      runs: { type: 'string', default: '1' },
      rounds: { type: 'string' },
      seconds: { type: 'string', default: '1' },
      threads: { type: 'string', default: '1,2' },
      engine: { type: 'string' },
      binary: { type: 'string', multiple: true, default: [] },
      only: { type: 'string' },
      open: { type: 'string', default: '50000' },
      rules: { type: 'string', default: '5000' },
      cycles: { type: 'string', default: '2000' },
      total: { type: 'string', default: '100000' },
      reference: { type: 'string', default: 'HAProxy' },
      json: { type: 'string' },
    },
  });
  const sections = positionals.flatMap((name) => groups[name] ?? [name]);
  const unknown = sections.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new Error(`there is no section "${unknown}"; there are ${[...known, ...Object.keys(groups)].join(', ')}`);
  const builds = flags.binary.map(parseBuild);
  return {
    sections,
    runs: count(flags.runs, '--runs'),
    rounds: count(flags.rounds ?? (flags.quick ? '1' : '5'), '--rounds'),
    seconds: count(flags.seconds, '--seconds'),
    warmsUpAll: !flags.quick,
    idleConnections: flags.quick ? 500 : 5000,
    threads: flags.threads.split(',').map((text) => count(text, '--threads')),
    engines: (flags.engine ?? (builds.length > 0 ? 'native' : 'native,portable')).split(',').map(parseEngine),
    builds,
    scale: {
      open: count(flags.open, '--open'),
      rules: count(flags.rules, '--rules'),
      cycles: count(flags.cycles, '--cycles'),
      total: count(flags.total, '--total'),
      rounds: count(flags.rounds ?? '1', '--rounds'),
    },
    only: flags.only?.split(',') ?? null,
    reference: flags.reference,
    json: flags.json ?? null,
  };
}

function count(text: string, flag: string): number {
  if (!/^[1-9][0-9]*$/.test(text)) throw new Error(`${flag} takes whole numbers from 1, not "${text}"`);
  return Number(text);
}

function parseEngine(name: string): string {
  if (name !== 'native' && name !== 'portable')
    throw new Error(`--engine takes native or portable, or both with a comma, not "${name}"`);
  return name;
}

function parseBuild(text: string): Build {
  const [, name = '', path = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!existsSync(path)) throw new Error(`--binary takes NAME=PATH of a build of grace, not "${text}"`);
  return { name, path: resolve(path) };
}
