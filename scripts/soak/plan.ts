/** What each connection does, drawn from the seed and its number. */
import { randomNumbers } from '../../test/random.ts';

/** Kinds of connections; each has a rule of its own. */
export const kinds = [
  'tcp',
  'stream',
  'unix',
  'tls',
  'tls-through',
  'tls-dialled',
  'proxy-sent',
  'proxy-accepted',
  'request',
  'idle',
] as const;
/** One of them. */
export type Kind = (typeof kinds)[number];

/** How many of a hundred connections are of a kind. */
export const shares: Readonly<Record<Kind, number>> = {
  tcp: 20,
  stream: 14,
  unix: 10,
  tls: 10,
  'tls-through': 8,
  'tls-dialled': 6,
  'proxy-sent': 6,
  'proxy-accepted': 4,
  request: 8,
  idle: 14,
};

/** Question and answer in turns: so many bytes each, so often, with a pause between. */
export type Turns = { script: 'turns'; up: number; down: number; turns: number; pauseMs: number };

/**
 * Both directions at once. The one that ends last sends its last quarter after it has seen the end of the other; with
 * `both` neither waits for the other.
 */
export type Flow = {
  script: 'flow';
  up: number;
  down: number;
  pauseMs: number;
  endsFirst: 'client' | 'server' | 'both';
  /** The client reads nothing for so long, in the middle. */
  stallMs: number;
};

/** What a connection does. */
export type Plan = { id: number; kind: Kind; afterMs: number } & (Turns | Flow);

/** So many connections are as busy as a plan has it; of more, each is the calmer: clients and servers are one process. */
const busyConnections = 400;

/** How many times as long as among few a pause is among so many connections. */
export function calmnessOf(connections: number): number {
  return Math.max(1, connections / busyConnections);
}

/**
 * What the connection with this number does, and how long its place stays empty after it. The calmer it is, the longer
 * are its pauses and the fewer its bytes.
 */
export function planOf(seed: number, { id, kind, calmness = 1 }: { id: number; kind: Kind; calmness?: number }): Plan {
  const next = randomNumbers(Math.imul(seed, 1_000_003) + id);
  next();
  const between = (low: number, high: number) => Math.floor(low + next() * (high - low));
  const size = (low: number, high: number) => Math.floor(low * 2 ** (next() * Math.log2(high / low)));
  const base = { id, kind };
  if (kind === 'request')
    return {
      ...base,
      script: 'turns',
      up: size(40, 400),
      down: size(40, 40_000),
      turns: between(1, 5),
      pauseMs: between(1, 30),
      afterMs: Math.round(calmness * between(500, 2000)),
    };
  if (kind === 'idle')
    return { ...base, script: 'turns', up: 1, down: 1, turns: 2, pauseMs: between(5000, 40_000), afterMs: 1 };
  if (kind === 'stream' || next() < 0.3)
    return {
      ...base,
      script: 'flow',
      up: size(10_000, 4_000_000 / calmness),
      down: size(10_000, 4_000_000 / calmness),
      pauseMs: Math.round(calmness * between(20, 300)),
      endsFirst: (['client', 'server', 'both'] as const)[between(0, 3)]!,
      stallMs: next() < 0.2 ? between(200, 3000) : 0,
      afterMs: between(1, 300),
    };
  const up = size(1, 4000);
  return {
    ...base,
    script: 'turns',
    up,
    down: next() < 0.5 ? up : size(1, 16_000),
    turns: between(2, 40),
    pauseMs: Math.round(calmness * between(200, 1500)),
    afterMs: between(1, 300),
  };
}

/** Kinds of so many places, so that each has its share. */
export function placesOf(count: number, among: readonly Kind[]): Kind[] {
  const total = among.reduce((sum, kind) => sum + shares[kind], 0);
  return Array.from({ length: count }, (_, place) => {
    // A step that has no divisor in common with the whole spreads each kind over all places.
    let left = (place * 37) % total;
    return among.find((kind) => (left -= shares[kind]) < 0)!;
  });
}
