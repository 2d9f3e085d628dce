/** What the figures were measured on, and with. */
import { cpus, loadavg, release, totalmem } from 'node:os';
import { findProgram, run } from './program.ts';

export type Machine = {
  kernel: string;
  processor: string;
  cores: number;
  memoryGB: number;
  /** Processes that ran or waited for a core in the minute before: figures are worth little when it is not near 0. */
  loadBefore: number;
  /** Version of each program, by its name; null for one that is not installed. */
  versions: Readonly<Record<string, string | null>>;
};

export type Versioned = { name: string; program: string; versionArgs: readonly string[] };

/** Programs that make the load or stand behind. */
const tools: readonly Versioned[] = [
  { name: 'wrk', program: 'wrk', versionArgs: ['-v'] },
  { name: 'iperf3', program: 'iperf3', versionArgs: ['--version'] },
  { name: 'openssl', program: 'openssl', versionArgs: ['version'] },
];

export async function describeMachine(
  programs: readonly Versioned[],
  { signal }: { signal: AbortSignal },
): Promise<Machine> {
  const versions: Record<string, string | null> = {};
  for (const { name, program, versionArgs } of [...programs, ...tools])
    versions[name] = await versionOf({ program, versionArgs, signal });
  return {
    kernel: release(),
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    loadBefore: loadavg()[0]!,
    versions,
  };
}

async function versionOf({
  program,
  versionArgs,
  signal,
}: Omit<Versioned, 'name'> & { signal: AbortSignal }): Promise<string | null> {
  const path = findProgram(program);
  if (path === null) return null;
  // Some say it on stderr, and wrk ends with 1 when it does.
  const said = await run('/bin/sh', ['-c', '"$0" "$@" 2>&1; true', path, ...versionArgs], { signal });
  return parseVersion(said);
}

/** The first thing that looks like a version. */
export function parseVersion(text: string): string {
  return /[0-9]+(?:\.[0-9]+)+[^\s,;)]*/.exec(text)?.[0] ?? /[0-9]+/.exec(text)?.[0] ?? 'unknown';
}

export function printMachine({ kernel, processor, cores, memoryGB, loadBefore, versions }: Machine): string {
  const installed = Object.entries(versions).map(([name, version]) => `${name} ${version ?? '(not installed)'}`);
  return [
    `Linux ${kernel}, ${cores} × ${processor}, ${memoryGB} GB, load ${loadBefore.toFixed(2)} before`,
    installed.join(', '),
  ].join('\n');
}
