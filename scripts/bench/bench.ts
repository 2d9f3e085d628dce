/**
 * `npm run bench`: grace beside the programs that people forward ports with. All of them run at the
 * same time and are measured in turn, round after round, so that what else the machine does falls on
 * all alike; figures are medians, ratios (in brackets) are to HAProxy. Everything stays on the loopback
 * interface, and nothing is installed: a program that is missing is named and left out.
 *
 *     npm run bench                            everything, about a quarter of an hour
 *     npm run bench -- --quick                 one round of it, three minutes
 *     npm run bench -- --runs 3 --json out     three times all of it, and the medians of the three
 *     npm run bench -- requests bulk           these sections only
 *     npm run bench -- --rounds 9 --seconds 2 --only grace,nginx requests
 *     npm run bench -- requests --only grace --binary old=/path/a --binary new=/path/b --engine native
 *     npm run bench -- tls                     all that is about TLS
 *     npm run bench -- threads --threads 1,2,4
 *     npm run bench -- scale --open 50000 --rules 5000 --cycles 2000 --total 1000000
 */
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { measureCommands } from './commands.ts';
import { compare, copyNode } from './compare.ts';
import type { Stage } from './compare.ts';
import { judge, printVerdicts } from './goals.ts';
import type { Results } from './goals.ts';
import type { Rounds } from './interleave.ts';
import { describeMachine, printMachine } from './machine.ts';
import { parseOptions } from './options.ts';
import type { Build, Options } from './options.ts';
import { machineTimes } from './process-tree.ts';
import { findProgram } from './program.ts';
import { measureScale, scaleParts } from './scale/scale.ts';
import { sectionNames, sectionsOf } from './sections.ts';
import type { Section } from './section.ts';
import { combine, summarize } from './summary.ts';
import type { Row } from './summary.ts';
import { printTable } from './table.ts';
import { setUpTls } from './tls.ts';
import { tlsSectionNames } from './tls-sections.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Load average from which something else is running. */
const busyLoad = 0.5;

type Run = { results: Results; rounds: Readonly<Record<string, Rounds>> };

async function main(): Promise<void> {
  const options = readOptions();
  if (!options) return;
  const interruption = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => interruption.abort(new Error('interrupted')));
  const dir = mkdtempSync(join(tmpdir(), 'grace-bench-'));
  chmodSync(dir, 0o755); // started by root, nginx reads its files as somebody else
  try {
    await bench(options, { dir, signal: interruption.signal });
  } catch (error) {
    console.error(interruption.signal.aborted ? '\ninterrupted' : error);
    process.exitCode = interruption.signal.aborted ? 130 : 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Null, with the reason said, when the command line is wrong. */
function readOptions(): Options | null {
  try {
    return parseOptions(process.argv.slice(2), { sections: sectionNames, groups: { tls: tlsSectionNames } });
  } catch (error) {
    console.error(`bench: ${(error as Error).message}`);
    process.exitCode = 2;
    return null;
  }
}

async function bench(options: Options, { dir, signal }: { dir: string; signal: AbortSignal }): Promise<void> {
  const notes = new Set<string>();
  const note = (text: string) => void notes.add(text);
  const builds = options.builds.length > 0 ? options.builds : [await ownBuild(note)];
  const sections = sectionsOf({ ...options, builds, nodeCopy: copyNode(dir) })
    .filter(({ name }) => isWanted(name, options))
    .map((section) => narrow(section, options));
  const programs = new Map(
    sections
      .flatMap(({ peers }) => peers)
      .toReversed()
      .map((peer) => [peer.program, peer]),
  );
  const machine = await describeMachine([...programs.values()].toReversed(), { signal });
  console.log(
    `${printMachine(machine)}\n${options.rounds} rounds of ${options.seconds} s, in turn; warmed up${options.warmsUpAll ? '' : ' only where code is compiled as it runs'}; one worker each, logs off where no table says otherwise, a connection to the backend for each of the client\nin brackets: median of the ratios, in each round, to the one with (1.00): ${options.reference} but where a table is of grace alone`,
  );

  if (machine.loadBefore > busyLoad)
    note(
      `the machine was busy before (load ${machine.loadBefore.toFixed(2)}): latency and rates above mean little, and CPU is more than it would be`,
    );

  const startedAt = { ms: performance.now(), times: machineTimes() };
  const stage = { signal, note, showProgress, tls: findProgram('openssl') ? await setUpTls({ dir, signal }) : null };
  const runs: Run[] = [];
  for (let index = 1; index <= options.runs; index++) {
    if (options.runs > 1) console.log(`\n=== Run ${index} of ${options.runs} ===`);
    const run = await measureAll({ sections, builds, options, stage: { ...stage, dir: join(dir, `${index}`) } });
    showVerdicts(run.results, options);
    runs.push(run);
  }
  const names = Object.keys(runs[0]!.results);
  const medians = Object.fromEntries(names.map((name) => [name, combine(runs.map(({ results }) => results[name]!))]));
  if (options.runs > 1) {
    console.log(`\n=== Medians of ${options.runs} runs ===`);
    for (const name of names) showTable(name, { rows: medians[name]!, sections });
    showVerdicts(medians, options);
  }

  for (const text of notes) console.log(`\nnote: ${text}`);
  const elapsed = (performance.now() - startedAt.ms) / 1000;
  const stolen = (machineTimes().stolen - startedAt.times.stolen) / elapsed / machine.cores;
  console.log(
    `\nIt took ${(elapsed / 60).toFixed(1)} minutes, in which other guests of the host took ${(stolen * 100).toFixed(1)} % of the processors.`,
  );
  const verdicts = (results: Results) => (options.reference === 'HAProxy' ? judge(results) : []);
  if (options.json !== null) {
    const each = runs.map(({ results, rounds }) => ({
      results,
      goals: verdicts(results),
      rounds: Object.fromEntries(Object.entries(rounds).map(([name, all]) => [name, Object.fromEntries(all)])),
    }));
    writeFileSync(
      options.json,
      `${JSON.stringify({ machine, options: { ...options, builds }, elapsedSeconds: elapsed, stolen, runs: each, medians: { results: medians, goals: verdicts(medians) }, notes: [...notes] }, null, 2)}\n`,
    );
  }
}

type Plan = { sections: readonly Section[]; builds: readonly Build[]; options: Options; stage: Stage };

async function measureAll({ sections, builds, options, stage }: Plan): Promise<Run> {
  const results: Record<string, readonly Row[]> = {};
  const rounds: Record<string, Rounds> = {};
  const show = (name: string, measured: Rounds, reference: string | null) => {
    rounds[name] = measured;
    results[name] = summarize(measured, reference);
    showProgress('');
    showTable(name, { rows: results[name], sections });
  };
  for (const section of sections) {
    if ((section.isTls || section.upstreamTls) && stage.tls === null)
      stage.note(`${section.name} is left out: openssl is not installed`);
    else
      show(
        section.name,
        await compare(section, {
          ...stage,
          seconds: options.seconds,
          warmsUpAll: options.warmsUpAll,
          rounds: section.rounds ?? options.rounds,
        }),
        section.reference,
      );
  }
  if (isWanted('commands', options))
    show('commands', await measureCommands(builds, { ...stage, rounds: options.rounds }), null);
  // Minutes, and other machines' figures: only when it is asked for.
  if (options.sections.includes('scale')) await measureScale({ ...options, builds }, stage, show);
  return { results, rounds };
}

function isWanted(section: string, { sections }: Options): boolean {
  return sections.length === 0 || sections.includes(section);
}

/** Only the peers that are asked for, and the one that ratios are to. */
function narrow(section: Section, { only }: Options): Section {
  const isChosen = (name: string) =>
    only === null || name === section.reference || only.some((part) => name.toLowerCase().includes(part.toLowerCase()));
  return { ...section, peers: section.peers.filter(({ name }) => isChosen(name)) };
}

function showTable(name: string, { rows, sections }: { rows: readonly Row[]; sections: readonly Section[] }): void {
  if (rows.length === 0) return;
  const { title = 'Commands of grace, as the user waits for them', remark } =
    [...sections, ...scaleParts].find((section) => section.name === name) ?? {};
  console.log(`\n${printTable(`${name}: ${title}${remark === undefined ? '' : `\n  ${remark}`}`, rows)}`);
  for (const { peer, failures } of rows) if (failures > 0) console.log(`  ${peer} failed in ${failures} of the rounds`);
}

function showVerdicts(results: Results, { reference }: Options): void {
  const verdicts = reference === 'HAProxy' ? judge(results) : [];
  if (verdicts.length > 0)
    console.log(
      `\n${printVerdicts('Goals, as ratios to HAProxy (noise: the ratio of the same HAProxy, measured again)', verdicts)}`,
    );
}

/** One line that is written over on a terminal. */
function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

/** What this tree was built to, or where it was not, its source. */
async function ownBuild(note: (text: string) => void): Promise<Build> {
  const executable = join(root, 'dist/grace');
  if (!existsSync(executable)) {
    note('grace runs from source, which costs memory and time to start: npm run build makes dist/grace');
    return { name: '', path: join(root, 'src/main.ts') };
  }
  const sources = (await readdir(join(root, 'src'), { recursive: true })).filter((name) => name.endsWith('.ts'));
  const newest = Math.max(...sources.map((name) => statSync(join(root, 'src', name)).mtimeMs));
  if (newest > statSync(executable).mtimeMs)
    note('dist/grace is older than the source: npm run build brings it up to date');
  return { name: '', path: executable };
}

await main();
// A socket that a peer never answered must not keep the process.
process.exit();
