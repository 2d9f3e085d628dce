/** What grace is meant to reach, as ratios to HAProxy with one worker each, and how far it is from there. */
import type { Row } from './summary.ts';
import { alignColumns } from './table.ts';

/** Rows by the name of their section. */
export type Results = Readonly<Record<string, readonly Row[]>>;

export type Verdict = {
  goal: string;
  /** The build of grace that is judged. */
  peer: string;
  value: number;
  limit: number;
  /** What the limit is, in words. */
  limitName: string;
  isMet: boolean;
  /** How much of the limit is missing, as a part of it: 0.05 is 5 %; negative is to spare. */
  missing: number;
  /** Ratio of the same program, measured a second time: how far it is from 1 is the noise. */
  noise: number | null;
};

const reference = 'HAProxy';
const control = 'HAProxy again';
const nginx = 'nginx stream';
const hitch = 'hitch';
const socketProxyd = 'systemd-socket-proxyd';

type Limit = { value: number; name: string };
type Goal = {
  goal: string;
  section: string;
  figure: string;
  isAtLeast?: boolean;
  limit: (ratioOf: (peer: string) => number | null) => Limit | null;
};

const fixed = (value: number) => () => ({ value, name: `${reference} × ${value}` });
const peersRatio =
  (peer: string) =>
  (ratioOf: (peer: string) => number | null): Limit | null => {
    const value = ratioOf(peer);
    return value === null ? null : { value, name: peer };
  };
const betterOfBoth = (ratioOf: (peer: string) => number | null): Limit => {
  const ratio = ratioOf(nginx);
  return ratio !== null && ratio < 1 ? { value: ratio, name: nginx } : { value: 1, name: reference };
};

/** Part of what the best of those costs that terminate TLS as well. */
const bestOfTls =
  (part: number) =>
  (ratioOf: (peer: string) => number | null): Limit => {
    const ratios = [nginx, hitch].flatMap((name) => {
      const value = ratioOf(name);
      return value === null ? [] : [{ name, value }];
    });
    const best = [{ name: reference, value: 1 }, ...ratios].reduce((a, b) => (b.value < a.value ? b : a));
    return { value: best.value * part, name: part === 1 ? best.name : `${best.name} × ${part}` };
  };
/** At least what the best of them does. */
const mostOfTls = (ratioOf: (peer: string) => number | null): Limit => {
  const ratios = [reference, nginx, hitch].map((name) => ({ name, value: ratioOf(name) ?? 0 }));
  return ratios.reduce((a, b) => (b.value > a.value ? b : a));
};

const goals: readonly Goal[] = [
  { goal: 'CPU per kept-alive request', section: 'requests', figure: 'CPU µs/request', limit: betterOfBoth },
  { goal: 'CPU per new connection', section: 'connections', figure: 'CPU µs/connection', limit: betterOfBoth },
  { goal: 'CPU per GB, 1 stream', section: 'bulk', figure: 'CPU s/GB', limit: peersRatio(socketProxyd) },
  { goal: 'CPU per GB, 8 streams', section: 'bulk8', figure: 'CPU s/GB', limit: peersRatio(socketProxyd) },
  { goal: 'throughput, 1 stream', section: 'bulk', figure: 'Gbit/s', isAtLeast: true, limit: fixed(1.2) },
  { goal: 'throughput, 8 streams', section: 'bulk8', figure: 'Gbit/s', isAtLeast: true, limit: fixed(1.4) },
  { goal: 'p50 beside load', section: 'latency', figure: 'p50 µs', limit: fixed(1) },
  { goal: 'p99 beside load', section: 'latency', figure: 'p99 µs', limit: fixed(1.1) },
  { goal: 'memory per idle connection', section: 'memory', figure: 'kB/connection', limit: fixed(1) },
  { goal: 'CPU per full handshake', section: 'handshakes', figure: 'CPU µs/handshake', limit: bestOfTls(1) },
  {
    goal: 'new TLS connections a second',
    section: 'handshakes',
    figure: 'handshakes/s',
    isAtLeast: true,
    limit: mostOfTls,
  },
  { goal: 'CPU per resumed handshake', section: 'resumed', figure: 'CPU µs/handshake', limit: bestOfTls(1) },
  { goal: 'CPU per GB of TLS, down', section: 'tls-bulk', figure: 'down CPU s/GB', limit: bestOfTls(0.6) },
  { goal: 'CPU per GB of TLS, up', section: 'tls-bulk', figure: 'up CPU s/GB', limit: bestOfTls(0.6) },
  { goal: 'CPU per request over TLS', section: 'tls-requests', figure: 'CPU µs/request', limit: bestOfTls(0.95) },
  { goal: 'memory per idle TLS connection', section: 'tls-memory', figure: 'kB/connection', limit: fixed(1) },
  { goal: 'p99 beside handshakes', section: 'flood', figure: 'p99 µs', limit: fixed(1) },
  {
    goal: 'CPU per connection with TLS to the backend',
    section: 'tls-upstream',
    figure: 'CPU µs/connection',
    limit: betterOfBoth,
  },
  {
    goal: 'CPU per connection with resumed TLS to the backend',
    section: 'tls-upstream-resumed',
    figure: 'CPU µs/connection',
    limit: betterOfBoth,
  },
];

/** Idle connections have a second limit, which is no ratio: kB, by the name of the section. */
const memoryTargetsKb: Readonly<Record<string, number>> = { memory: 1.5, 'tls-memory': 2 };

/** A verdict for each goal that was measured, for each row of grace's native engine. */
export function judge(results: Results): Verdict[] {
  return goals.flatMap(({ goal, section, figure, isAtLeast = false, limit }) => {
    const rows = results[section] ?? [];
    const ratioOf = (peer: string) => rows.find((row) => row.peer === peer)?.figures[figure]?.ratio ?? null;
    const bound = limit(ratioOf);
    if (bound === null) return [];
    const noise = ratioOf(control);
    return rows
      .filter(({ peer }) => peer.startsWith('grace native'))
      .flatMap(({ peer, figures }) => {
        const { ratio = null, median } = figures[figure] ?? {};
        const verdicts = ratio === null ? [] : [verdictOf({ goal, peer, value: ratio, bound, isAtLeast, noise })];
        const memoryTargetKb = memoryTargetsKb[section];
        if (memoryTargetKb !== undefined && median !== undefined)
          verdicts.push(
            verdictOf({
              goal: `${goal}, in kB`,
              peer,
              value: median,
              bound: { value: memoryTargetKb, name: 'target' },
              isAtLeast,
              noise: null,
            }),
          );
        return verdicts;
      });
  });
}

function verdictOf({
  bound,
  isAtLeast,
  ...rest
}: Pick<Verdict, 'goal' | 'peer' | 'value' | 'noise'> & { bound: Limit; isAtLeast: boolean }): Verdict {
  const over = rest.value / bound.value - 1;
  const missing = isAtLeast ? -over : over;
  return { ...rest, limit: bound.value, limitName: bound.name, isMet: missing <= 0, missing };
}

export function printVerdicts(title: string, verdicts: readonly Verdict[]): string {
  const number = (value: number | null) => (value === null ? '' : value.toFixed(2));
  const percent = (part: number) => `${Math.abs(part * 100).toFixed(0)} %`;
  const cells = verdicts.map(({ goal, peer, value, limit, limitName, isMet, missing, noise }) => [
    goal,
    peer,
    number(value),
    number(limit),
    limitName,
    number(noise),
    isMet ? `met, ${percent(missing)} to spare` : `missed by ${percent(missing)}`,
  ]);
  return [
    title,
    ...alignColumns([['', 'of', 'is', 'limit', 'which is', 'noise', ''], ...cells]).map((line) => `  ${line}`),
  ].join('\n');
}
