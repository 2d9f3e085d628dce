/** The programs that make load, and what they say. */
import { setTimeout as delay } from 'node:timers/promises';
import { findProgram, run } from './program.ts';

export type Load = {
  signal: AbortSignal;
  /** Processors of the tool, as taskset has them; default all. */
  cpus?: string | null;
  env?: Readonly<Record<string, string>>;
};

/** Longer than any tool needs beyond its measuring time. */
const graceMs = 20_000;

/** `script`: a file of Lua. */
export type WrkOptions = Load & {
  url: string;
  connections: number;
  seconds: number;
  closes?: boolean;
  script?: string;
};
export type WrkResult = { requests: number; perSecond: number; p50Us: number; p99Us: number; bytes: number };

/** Requests by wrk's one thread for a whole number of seconds. Rejects when more than one in a hundred failed. */
export async function wrk({
  url,
  connections,
  seconds,
  closes = false,
  script,
  ...load
}: WrkOptions): Promise<WrkResult> {
  const args = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    ...(closes ? ['-H', 'Connection: close'] : []),
    ...(script === undefined ? [] : ['-s', script]),
    url,
  ];
  return parseWrk(await run(findProgram('wrk')!, args, { ...load, timeoutMs: seconds * 1000 + graceMs }));
}

export function parseWrk(text: string): WrkResult {
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? NaN);
  const time = (name: string) => microseconds(new RegExp(`^ +${name}% +([0-9.]+[a-z]+)`, 'm').exec(text)?.[1] ?? '');
  const requests = number(/([0-9]+) requests in/);
  const bytes = bytesOf(/requests in [^,]+, ([0-9.]+[KMGT]?B) read/.exec(text)?.[1] ?? '');
  const errors = [...(/Socket errors: .*/.exec(text)?.[0].matchAll(/[0-9]+/g) ?? [])].reduce(
    (sum, [count]) => sum + Number(count),
    0,
  );
  const refused = Number(/Non-2xx or 3xx responses: ([0-9]+)/.exec(text)?.[1] ?? 0);
  if (!(bytes > 0) || errors + refused > requests / 100)
    throw new Error(
      `wrk had ${requests} answers of ${bytes} bytes in all, ${errors} socket errors and ${refused} answers that were errors`,
    );
  return {
    requests,
    perSecond: number(/Requests\/sec: +([0-9.]+)/),
    p50Us: time('50'),
    p99Us: time('99'),
    bytes,
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

/** How much iperf3 sends: for a whole number of seconds, or so many MiB in all. */
export type Amount = { seconds: number } | { megabytes: number };

export type IperfResult = {
  bytes: number;
  seconds: number;
  /** The server took the test. */
  hasBegun: boolean;
  /** Why nothing arrived, where nothing did. */
  error: string;
};

/** What arrived, at the server or with `isReverse` at the client. */
export async function iperf3({
  port,
  streams,
  amount,
  isReverse,
  ...load
}: Load & { port: number; streams: number; amount: Amount; isReverse: boolean }): Promise<IperfResult> {
  const args = [
    '-c',
    '127.0.0.1',
    '-p',
    `${port}`,
    '-P',
    `${streams}`,
    ...('seconds' in amount ? ['-t', `${amount.seconds}`] : ['-n', `${amount.megabytes}M`]),
    '-J',
    ...(isReverse ? ['-R'] : []),
  ];
  const timeoutMs = ('seconds' in amount ? amount.seconds * 1000 : 0) + graceMs;
  for (let tries = 1; ; tries++) {
    const result = parseIperf3(
      await run('/bin/sh', ['-c', '"$0" "$@" || true', findProgram('iperf3')!, ...args], { ...load, timeoutMs }),
    );
    if (result.bytes > 0) return result;
    // The server takes one test at a time, and a look at its port, as whether it answers, for one.
    if (result.hasBegun || tries === 10) throw new Error(`iperf3 did not measure anything: ${result.error}`);
    await delay(100, undefined, load);
  }
}

export function parseIperf3(text: string): IperfResult {
  const {
    start,
    end,
    error = 'nothing arrived',
  } = JSON.parse(text) as {
    start?: { connected?: unknown[] };
    end?: { sum_received?: { bytes: number; seconds: number } };
    error?: string;
  };
  const { bytes = 0, seconds = 0 } = end?.sum_received ?? {};
  return { bytes, seconds, hasBegun: (start?.connected?.length ?? 0) > 0, error };
}

/** Handshakes, one after the other, each with a request for the page, for about that many seconds; how many. They resume a session, or none of them does. */
export async function handshakes({
  port,
  seconds,
  resumes,
  ...load
}: Load & { port: number; seconds: number; resumes: boolean }): Promise<number> {
  const kind = resumes ? '-reuse' : '-new';
  const args = ['s_time', kind, '-connect', `127.0.0.1:${port}`, '-www', '/', '-time', `${seconds}`];
  return parseHandshakes(await run('openssl', args, { ...load, timeoutMs: seconds * 1000 + graceMs }), { resumes });
}

/** Rejects when one in a hundred was not what it should be: s_time says `r` of each that resumed a session, and `*` of others. */
export function parseHandshakes(text: string, { resumes }: { resumes: boolean }): number {
  const [, count = '0', bytes = '0'] =
    /([0-9]+) connections in [0-9]+ real seconds, ([0-9]+) bytes read/.exec(text) ?? [];
  if (count === '0' || bytes === '0') throw new Error('no handshake led to an answer');
  const [marks = ''] = /^[r*t3]{2,}/m.exec(text) ?? [];
  const wrong = marks.replaceAll(resumes ? 'r' : '*', '').length;
  if (wrong > marks.length / 100)
    throw new Error(`${wrong} of ${marks.length} handshakes ${resumes ? 'resumed no session' : 'resumed a session'}`);
  return Number(count);
}
