/** One measurement of one running peer: numbers by their names, with the unit in the name. */
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { iperf3, wrk } from './load-tools.ts';
import type { Load } from './load-tools.ts';
import type { RunningPeer } from './peers.ts';
import { cpuSeconds, machineTimes } from './process-tree.ts';
import { run } from './program.ts';

const here = dirname(fileURLToPath(import.meta.url));

export type Figures = Readonly<Record<string, number>>;

export type Measurement = Load & { seconds: number };

type Cost = {
  /** CPU seconds of the peer. */
  cpu: number;
  /** CPU seconds of the whole machine: peer, load and backend, with what the peer makes these do, and whatever else runs. */
  all: number;
};

/** What work costs a peer, and the whole machine. */
export async function costOf<T>({ pid }: RunningPeer, work: () => Promise<T>): Promise<Cost & { result: T }> {
  const [cpu, { busy }] = [cpuSeconds([pid]), machineTimes()];
  const result = await work();
  return { result, cpu: cpuSeconds([pid]) - cpu, all: machineTimes().busy - busy };
}

/** Requests over connections that are kept. */
export async function requests(
  peer: RunningPeer,
  { seconds, scheme = 'http', ...load }: Measurement & { scheme?: 'http' | 'https' },
): Promise<Figures> {
  const { result, cpu, all } = await costOf(peer, () =>
    wrk({ ...load, url: `${scheme}://127.0.0.1:${peer.port}/`, connections: 50, seconds }),
  );
  return {
    'CPU µs/request': (cpu / result.requests) * 1e6,
    'all µs/request': (all / result.requests) * 1e6,
    'requests/s': result.perSecond,
    'p50 µs': result.p50Us,
    'p99 µs': result.p99Us,
  };
}

/** A new connection for each request. */
export async function connections(peer: RunningPeer, { seconds, ...load }: Measurement): Promise<Figures> {
  const { result, cpu, all } = await costOf(peer, () =>
    wrk({ ...load, url: `http://127.0.0.1:${peer.port}/`, connections: 20, seconds, closes: true }),
  );
  return {
    'CPU µs/connection': (cpu / result.requests) * 1e6,
    'all µs/connection': (all / result.requests) * 1e6,
    'connections/s': result.perSecond,
  };
}

/** Both of these, for peers with one worker and more. */
export async function threads(peer: RunningPeer, measurement: Measurement): Promise<Figures> {
  const kept = await requests(peer, measurement);
  const made = await connections(peer, measurement);
  const pick = (figures: Figures, ...names: string[]) =>
    Object.fromEntries(names.map((name) => [name, figures[name]!]));
  return { ...pick(kept, 'requests/s', 'CPU µs/request'), ...pick(made, 'connections/s', 'CPU µs/connection') };
}

/** Bulk through iperf3, one way after the other, each for that many seconds: up is to the server. */
export async function bulk(
  peer: RunningPeer,
  { seconds, streams, ...load }: Measurement & { streams: number },
): Promise<Figures> {
  const way = (isReverse: boolean) =>
    costOf(peer, () => iperf3({ ...load, port: peer.port, streams, amount: { seconds }, isReverse }));
  const [up, down] = [await way(false), await way(true)];
  const bytes = up.result.bytes + down.result.bytes;
  const rate = (amount: number, time: number) => (amount * 8) / time / 1e9;
  return {
    'CPU s/GB': (up.cpu + down.cpu) / (bytes / 1e9),
    'up s/GB': up.cpu / (up.result.bytes / 1e9),
    'down s/GB': down.cpu / (down.result.bytes / 1e9),
    'all s/GB': (up.all + down.all) / (bytes / 1e9),
    'Gbit/s': rate(bytes, up.result.seconds + down.result.seconds),
    'up Gbit/s': rate(up.result.bytes, up.result.seconds),
    'down Gbit/s': rate(down.result.bytes, down.result.seconds),
  };
}

/** A little of both ways, for a peer that is to be warm. */
export async function warmUpBulk(
  { port }: RunningPeer,
  { streams, ...load }: Measurement & { streams: number },
): Promise<void> {
  for (const isReverse of [false, true])
    await iperf3({ ...load, port, streams, amount: { megabytes: 256 }, isReverse });
}

/** Times to the answer on one quiet connection, while fifty others ask as fast as they are answered. */
export async function latency(peer: RunningPeer, { seconds, ...load }: Measurement): Promise<Figures> {
  const busy = wrk({ ...load, url: `http://127.0.0.1:${peer.port}/`, connections: 50, seconds: seconds + 1 });
  const quiet = async () => {
    await delay(400, undefined, load); // the load is up to speed
    return pings(peer.port, { ...load, seconds });
  };
  const [outcome, times] = await Promise.allSettled([busy, quiet()]);
  if (outcome.status === 'rejected') throw outcome.reason;
  if (times.status === 'rejected') throw times.reason;
  return { 'p50 µs': times.value.p50, 'p99 µs': times.value.p99, 'load requests/s': outcome.value.perSecond };
}

/** Small requests over one connection to a port, one a millisecond: times to the answer, in microseconds. */
export async function pings(port: number, { seconds, ...load }: Measurement): Promise<{ p50: number; p99: number }> {
  const args = [join(here, 'ping.ts'), `${port}`, `${seconds}`];
  return JSON.parse(await run(process.execPath, args, { ...load, timeoutMs: seconds * 1000 + 10_000 })) as {
    p50: number;
    p99: number;
  };
}
