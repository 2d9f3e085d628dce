/** One measurement of one running peer: numbers by their names, with the unit in the name. */
import net from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { RunningPeer } from './peers.ts';
import { cpuSeconds, memoryKb } from './process-tree.ts';
import { findProgram, run, start } from './program.ts';

const here = dirname(fileURLToPath(import.meta.url));

export type Figures = Record<string, number>;

/** CPU seconds that the peer used while `work` ran, and what that returned. */
async function withCpu<T>({ roots }: RunningPeer, work: () => Promise<T>): Promise<{ result: T; cpu: number }> {
  const before = cpuSeconds(roots);
  const result = await work();
  return { result, cpu: cpuSeconds(roots) - before };
}

type WrkOptions = { url: string; connections: number; seconds: number; closes?: boolean };
type WrkResult = { requests: number; perSecond: number; p50: number; p99: number; bytes: number };

async function wrk({ url, connections, seconds, closes = false }: WrkOptions): Promise<WrkResult> {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...(closes ? ['-H', 'Connection: close'] : []), url];
  const text = await run(findProgram('wrk')!, args);
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? NaN);
  const time = (name: string) => microseconds(new RegExp(`^ +${name}% +([0-9.]+[a-z]+)`, 'm').exec(text)?.[1] ?? '');
  return {
    requests: number(/([0-9]+) requests in/),
    perSecond: number(/Requests\/sec: +([0-9.]+)/),
    p50: time('50'),
    p99: time('99'),
    bytes: bytesOf(/requests in [^,]+, ([0-9.]+[KMGT]?B) read/.exec(text)?.[1] ?? ''),
  };
}

function microseconds(text: string): number {
  const [, value = '', unit = ''] = /^([0-9.]+)(us|ms|s|m)$/.exec(text) ?? [];
  return Number(value) * ({ us: 1, ms: 1e3, s: 1e6, m: 6e7 }[unit] ?? NaN);
}

function bytesOf(text: string): number {
  const [, value = '', unit = ''] = /^([0-9.]+)([KMGT]?)B$/.exec(text) ?? [];
  return Number(value) * ({ '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[unit] ?? NaN);
}

/** Requests over connections that are kept. */
export async function requests(peer: RunningPeer, { seconds, scheme = 'http' }: { seconds: number; scheme?: string }): Promise<Figures> {
  const { result, cpu } = await withCpu(peer, () => wrk({ url: `${scheme}://127.0.0.1:${peer.port}/`, connections: 50, seconds }));
  return { 'CPU µs/request': (cpu / result.requests) * 1e6, 'requests/s': result.perSecond, 'p50 µs': result.p50, 'p99 µs': result.p99 };
}

/** A new connection for each request. */
export async function connections(peer: RunningPeer, { seconds, scheme = 'http' }: { seconds: number; scheme?: string }): Promise<Figures> {
  const { result, cpu } = await withCpu(peer, () => wrk({ url: `${scheme}://127.0.0.1:${peer.port}/`, connections: 20, seconds, closes: true }));
  return { 'CPU µs/connection': (cpu / result.requests) * 1e6, 'connections/s': result.perSecond };
}

/** One large file after the other, over TLS. */
export async function download(peer: RunningPeer, { seconds }: { seconds: number }): Promise<Figures> {
  const { result, cpu } = await withCpu(peer, () => wrk({ url: `https://127.0.0.1:${peer.port}/large`, connections: 4, seconds }));
  return { 'CPU s/GB': cpu / (result.bytes / 1e9), 'Gbit/s': (result.bytes * 8) / seconds / 1e9 };
}

/** Bulk through iperf3, half the time each way. */
export async function bulk(peer: RunningPeer, { seconds, streams }: { seconds: number; streams: number }): Promise<Figures> {
  let [bytes, cpu] = [0, 0];
  for (const direction of [[], ['-R']]) {
    const measured = await withCpu(peer, () => iperf3(['-c', '127.0.0.1', '-p', `${peer.port}`, '-P', `${streams}`, '-t', `${Math.ceil(seconds / 2)}`, '-J', ...direction]));
    bytes += measured.result;
    cpu += measured.cpu;
  }
  return { 'CPU s/GB': cpu / (bytes / 1e9), 'Gbit/s': (bytes * 8) / (2 * Math.ceil(seconds / 2)) / 1e9 };
}

/** Bytes received. The server takes one test at a time, and a look at its port for one. */
async function iperf3(args: readonly string[]): Promise<number> {
  for (let tries = 1; ; tries++) {
    try {
      const { end } = JSON.parse(await run(findProgram('iperf3')!, args)) as { end: { sum_received?: { bytes: number } } };
      if (end.sum_received) return end.sum_received.bytes;
      throw new Error('iperf3 did not measure anything');
    } catch (error) {
      if (tries === 5) throw error;
      await delay(200);
    }
  }
}

/** Memory without connections, and what each of many idle ones adds. */
export async function memory(peer: RunningPeer, { count }: { count: number }): Promise<Figures> {
  await delay(300);
  const before = memoryKb(peer.roots);
  const sockets: net.Socket[] = [];
  try {
    while (sockets.length < count) {
      const batch = Array.from({ length: Math.min(200, count - sockets.length) }, () => net.connect(peer.port, '127.0.0.1'));
      sockets.push(...batch);
      // A peer that has run out of descriptors lets its clients wait for ever.
      const signal = AbortSignal.timeout(20_000);
      await Promise.all(batch.map((socket) => echo(socket, signal)));
    }
    await delay(500);
    return { 'idle MB': before / 1024, 'kB/connection': (memoryKb(peer.roots) - before) / count };
  } finally {
    for (const socket of sockets) socket.destroy();
    await delay(300);
  }
}

/** Send a byte and wait until it has come back. */
async function echo(socket: net.Socket, signal: AbortSignal): Promise<void> {
  socket.on('error', () => {}); // the wait below ends with it
  await once(socket, 'connect', { signal });
  const echoed = once(socket, 'data', { signal });
  socket.write('x');
  await echoed;
}

/** Answers to one quiet connection while fifty others are busy. */
export async function latency(peer: RunningPeer, { seconds }: { seconds: number }): Promise<Figures> {
  const load = start(findProgram('wrk')!, ['-t1', '-c50', `-d${seconds + 2}s`, `http://127.0.0.1:${peer.port}/`]);
  const { p50, p99 } = JSON.parse(await run(process.execPath, [join(here, 'ping.ts'), `${peer.port}`, `${seconds}`])) as { p50: number; p99: number };
  await load.stop();
  return { 'p50 µs': p50, 'p99 µs': p99 };
}
