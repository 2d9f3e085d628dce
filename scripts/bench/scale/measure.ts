/** The measurements of one forwarder at scale: numbers by their names, with the unit in the name. */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startBackend } from '../backend.ts';
import { wrk } from '../load-tools.ts';
import type { Figures } from '../measure.ts';
import type { ScaleOptions } from '../options.ts';
import { freePort } from '../ports.ts';
import { cpuSeconds, memoryKb } from '../process-tree.ts';
import { settledKb } from '../settled.ts';
import { median } from '../summary.ts';
import { openClients, startEcho, startPinger } from './attendants.ts';
import type { Waits } from './attendants.ts';
import type { Forward, Forwarder, ForwarderOptions, RunningForwarder } from './forwarders.ts';

export type ScaleMeasurement = {
  dir: string;
  sizes: ScaleOptions;
  /** Descriptors that a process may have here. */
  descriptors: number;
  signal: AbortSignal;
};

/** Of the descriptors that a process may have, those for connections: the last eighth grace keeps for sources that have few. */
const usableShare = 0.85;

/** Connections from one address to one port: fewer than there are local ports. */
const maxFromOneAddress = 25_000;

/** Restarts of which the median is told. */
const restartCount = 3;

/** How long clients come before and after each restart, in milliseconds. */
const aroundRestartMs = 300;

/** How long a load lasts before a forwarder counts as active, in milliseconds. */
const activeAfterMs = 3000;

/** Addresses of one network that differ, for as many listeners on one port. */
export function addressesOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `127.77.${Math.floor(index / 250)}.${(index % 250) + 1}`);
}

/** How many connections there can be, and in how many parts each with clients and a backend of its own. */
export function planConnections(wanted: number, descriptors: number): { count: number; parts: number[] } {
  const most = Math.floor(descriptors * usableShare);
  const count = Math.min(wanted, Math.floor(most / 2));
  const partCount = Math.ceil(count / Math.min(most, maxFromOneAddress));
  const parts = Array.from(
    { length: partCount },
    (_, index) => Math.floor((count * (index + 1)) / partCount) - Math.floor((count * index) / partCount),
  );
  return { count, parts };
}

/** Many connections that do nothing: what they take, and what a restart with them does to others. */
export async function openConnections(
  forwarder: Forwarder,
  { dir, sizes, ...rest }: ScaleMeasurement,
): Promise<Figures> {
  await using cleanUp = new AsyncDisposableStack();
  const { count, parts } = planConnections(sizes.open, rest.descriptors);
  const forwards: Forward[] = [];
  for (const _ of [...parts, 'pinger']) {
    const upstreamPort = await startEcho(cleanUp, { dir: made(dir), ...rest });
    forwards.push({ host: '127.77.0.1', port: await freePort(), upstreamPort });
  }
  const running = await startForwarder(cleanUp, forwarder, { dir, forwards, maxConnections: count + 50, ...rest });
  const atRest = await settledKb(running, rest.signal);
  const cpu = cpuSeconds([running.pid]);
  const clients = await Promise.all(parts.map((part, index) => openClients(cleanUp, forwards[index]!, part)));
  const cpuOpen = cpuSeconds([running.pid]) - cpu;
  const withThem = await settledKb(running, rest.signal);
  const listMs = await timeMs(() => running.list());
  const pinger = await startPinger(cleanUp, forwards.at(-1)!);
  const restarted = await restarts(running, pinger);
  const after = await settledKb(running, rest.signal);
  const alive = await Promise.all(clients.map((each) => each.finish()));
  return {
    connections: count,
    'at rest MB': atRest / 1024,
    'with them MB': withThem / 1024,
    'kB/connection': (withThem - atRest) / count,
    'CPU µs/connection': (cpuOpen / count) * 1e6,
    'ls ms': listMs,
    ...restarted,
    'then MB': after / 1024,
    'answer still': alive.reduce((sum, part) => sum + part, 0),
  };
}

/** Many forwards of which few are used. */
export async function manyRules(forwarder: Forwarder, { dir, sizes, ...rest }: ScaleMeasurement): Promise<Figures> {
  await using cleanUp = new AsyncDisposableStack();
  const upstreamPort = await startEcho(cleanUp, { dir: made(dir), ...rest });
  const port = await freePort();
  const forwards = addressesOf(sizes.rules).map((host): Forward => ({ host, port, upstreamPort }));
  const startedMs = performance.now();
  const running = await startForwarder(cleanUp, forwarder, { dir, forwards, maxConnections: 1000, ...rest });
  const startS = (performance.now() - startedMs) / 1000;
  const kb = await settledKb(running, rest.signal);
  const pinger = await startPinger(cleanUp, forwards[sizes.rules >> 1]!);
  const listMs = await timeMs(() => running.list());
  let text = '';
  const metricsMs = await timeMs(async () => void (text = await running.metrics()));
  return {
    rules: sizes.rules,
    'start s': startS,
    MB: kb / 1024,
    'ls ms': listMs,
    'metrics ms': metricsMs,
    'metrics MB': text.length / 1e6,
    ...(await restarts(running, pinger)),
    'then MB': (await settledKb(running, rest.signal)) / 1024,
  };
}

/** A rule stopped and started over and over. */
export async function cycles(forwarder: Forwarder, { dir, sizes, ...rest }: ScaleMeasurement): Promise<Figures> {
  await using cleanUp = new AsyncDisposableStack();
  const upstreamPort = await startEcho(cleanUp, { dir: made(dir), ...rest });
  const forwards = [await freePort(), await freePort()].map((port) => ({ host: '127.77.0.1', port, upstreamPort }));
  const running = await startForwarder(cleanUp, forwarder, { dir, forwards, maxConnections: 1000, ...rest });
  const { cycle } = running;
  if (cycle === null) throw new Error('it has no commands for that');
  const pid = await running.servingPid();
  for (let warm = 0; warm < sizes.cycles / 20; warm++) await cycle(forwards[1]!);
  const before = { kb: await settledKb(running, rest.signal), fds: descriptorsOf(pid) };
  const cpu = cpuSeconds([running.pid]);
  const ms = await timeMs(async () => {
    for (let index = 0; index < sizes.cycles; index++) await cycle(forwards[1]!);
  });
  const used = cpuSeconds([running.pid]) - cpu;
  return {
    cycles: sizes.cycles,
    'ms/cycle': ms / sizes.cycles,
    'CPU ms/cycle': (used / sizes.cycles) * 1000,
    'before MB': before.kb / 1024,
    'after MB': (await settledKb(running, rest.signal)) / 1024,
    'descriptors before': before.fds,
    after: descriptorsOf(pid),
  };
}

/** So many connections in all, with a request each, some at a time. */
export async function manyConnections(
  forwarder: Forwarder,
  { dir, sizes, ...rest }: ScaleMeasurement,
): Promise<Figures> {
  await using cleanUp = new AsyncDisposableStack();
  const backend = await startBackend('http', { dir: join(made(dir), 'backend'), cpus: null, signal: rest.signal });
  cleanUp.defer(() => backend.stop());
  const forward = { host: '127.0.0.1', port: await freePort(), upstreamPort: backend.port };
  const options = { dir, forwards: [forward], maxConnections: 1000, ...rest };
  const running = await startForwarder(cleanUp, forwarder, options);
  const load = (seconds: number) =>
    wrk({ url: `http://127.0.0.1:${forward.port}/`, connections: 20, seconds, closes: true, signal: rest.signal });
  await load(1);
  const before = await settledKb(running, rest.signal);
  const cpu = cpuSeconds([running.pid]);
  let [count, active, ms] = [0, 0, 0];
  while (count < sizes.total) {
    const [{ requests }, kb] = await Promise.all([load(5), activeKb(running, rest.signal)]);
    count += requests;
    active = Math.max(active, kb);
    ms += 5000;
  }
  return {
    connections: count,
    'connections/s': (count / ms) * 1000,
    'CPU µs/connection': ((cpuSeconds([running.pid]) - cpu) / count) * 1e6,
    'before MB': before / 1024,
    'under load MB': active / 1024,
    'of it the daemon': (await activeDaemonKb(running, load, rest.signal)) / 1024,
    'after MB': (await settledKb(running, rest.signal)) / 1024,
  };
}

async function activeKb({ pid }: RunningForwarder, signal: AbortSignal): Promise<number> {
  await delay(activeAfterMs, undefined, { signal });
  return memoryKb([pid]);
}

/** Of the process that moves bytes alone. */
async function activeDaemonKb(
  running: RunningForwarder,
  load: (seconds: number) => Promise<unknown>,
  signal: AbortSignal,
): Promise<number> {
  const pid = await running.servingPid();
  const [kb] = await Promise.all([activeKb({ ...running, pid }, signal), load(5)]);
  return kb;
}

async function startForwarder(
  cleanUp: AsyncDisposableStack,
  forwarder: Forwarder,
  options: ForwarderOptions,
): Promise<RunningForwarder & Pick<Forwarder, 'restsWithinMs'>> {
  const running = await forwarder.start(options);
  cleanUp.defer(() => running.stop());
  return { ...running, restsWithinMs: forwarder.restsWithinMs };
}

/** Medians over some restarts of what one takes, and of the longest waits of clients meanwhile. */
async function restarts(running: RunningForwarder, pinger: { look(): Promise<Waits> }): Promise<Figures> {
  const rounds: { ms: number; cpu: number; waits: Waits; failed: number }[] = [];
  for (let round = 0; round < restartCount; round++) {
    await delay(aroundRestartMs);
    const { failed } = await pinger.look();
    const cpu = cpuSeconds([running.pid]);
    const ms = await timeMs(() => running.restart());
    await delay(aroundRestartMs);
    const waits = await pinger.look();
    rounds.push({ ms, cpu: cpuSeconds([running.pid]) - cpu, waits, failed: waits.failed - failed });
  }
  return {
    'restart s': median(rounds.map(({ ms }) => ms)) / 1000,
    'CPU s': median(rounds.map(({ cpu }) => cpu)),
    'kept stall ms': median(rounds.map(({ waits }) => waits.kept)),
    'newcomer stall ms': median(rounds.map(({ waits }) => waits.newcomer)),
    failed: rounds.reduce((sum, { failed }) => sum + failed, 0),
  };
}

async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function made(dir: string): string {
  mkdirSync(dir, { recursive: true });
  return dir;
}
