/** The old process's part of a move (move.ts): it freezes what can be moved, passes it on batch by batch, and lets go of it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { EndpointText, Staying } from '../../control/shapes.ts';
import type { Mover } from '../../engine/engine.ts';
import { CONNECTIONS_PER_BATCH, sendBatch } from '../../engine/transfer.ts';
import type { MovedConnection } from '../../engine/transfer.ts';
import { errorMessage, GraceError } from '../../error.ts';
import type { DestinationView } from '../../forward/table.ts';
import { within } from '../../waiting.ts';
import { textOf } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import { readMoveAnswer } from './messages.ts';
import type { MoveChannel, MoveMessage } from './messages.ts';
import { countTls } from './move.ts';
import type { MovedCount } from './move.ts';
import type { HandedCounters } from './state.ts';

/** Longest that a successor may take over one batch, in milliseconds. */
const defaultBatchTimeoutMs = 5000;

/** So long it is waited for clients that are in the middle of their handshake, in milliseconds: then they can be moved. */
const handshakesMs = 1000;
/** Between two looks whether they have done. */
const handshakeLookMs = 20;

/** What the old process moves, and by which way. */
export type MoveOutOptions = {
  channel: MoveChannel;
  /** This process's end of the socket pair. */
  socket: number;
  /** Not those of rules that are being stopped: whoever asked for that was promised an end in time. */
  movable: readonly DestinationView[];
  /** Whether connections with TLS may be among them. Default false. */
  tls?: boolean;
  /** Longest that a successor may take over one batch. Default 5000. */
  batchTimeoutMs?: number | undefined;
  /** What the successor was told of counters before. Default: nothing. */
  told?: HandedCounters | undefined;
  /** What stays when all has moved that can. */
  staying?: () => Staying[];
};

type Place = { src: EndpointText; dst: EndpointText; since: string; drainMs?: number };
type Totals = Extract<MoveMessage, { moved: unknown }>['moved']['totals'][number];

/** A destination whose counters the successor is told, and what it was told of them before. */
type Counted = Pick<DestinationView, 'destination' | 'isCurrent'> & {
  before: HandedCounters[number] | undefined;
  total: Totals;
};

type OldService = Pick<Service, 'engine' | 'log'> & Partial<Pick<Service, 'endedGenerations' | 'generation'>>;

/** In the old process: move what can be moved of these destinations. Resolves with how many connections were; never rejects. */
export async function moveOut(service: OldService, options: MoveOutOptions): Promise<MovedCount> {
  const { engine, log } = service;
  const count = { moved: 0, movedTls: 0 };
  if (!engine.mover) return count;
  try {
    await moveConnections(engine.mover, options, { count, generation: service.generation });
    await moveCounters(service, options);
  } catch (error) {
    log.warn({ error: errorMessage(error), moved: count.moved }, 'connections stay with this process until they end');
  }
  return count;
}

/** Counts what has moved as it goes: what follows may fail. */
async function moveConnections(
  mover: Mover,
  { channel, socket, movable, tls = false, batchTimeoutMs = defaultBatchTimeoutMs }: MoveOutOptions,
  { count, generation }: { count: MovedCount; generation: number | undefined },
): Promise<void> {
  let batch = 0;
  const moveAll = async (): Promise<void> => {
    for (const { src, destination } of movable) {
      const place = { src: textOf(src), dst: textOf(destination.spec), since: destination.since };
      for (;;) {
        const connections = await mover.freeze(destination.upstream, CONNECTIONS_PER_BATCH, { tls });
        if (connections.length === 0) break;
        for (const connection of connections) connection.generation ??= generation;
        // The keys that go with them are gone when they have moved.
        const withTls = countTls(connections);
        const drainMs = destination.drainLeftMs;
        const there = drainMs === null ? place : { ...place, drainMs };
        await moveBatch({ mover, channel, socket, id: ++batch, place: there, connections, batchTimeoutMs });
        count.moved += connections.length;
        count.movedTls += withTls;
      }
    }
  };
  await moveAll();
  const isShaking = () => tls && movable.some(({ destination }) => mover.handshakes(destination.upstream) > 0);
  for (const until = performance.now() + handshakesMs; isShaking() && performance.now() < until;) {
    await delay(handshakeLookMs);
    await moveAll();
  }
}

/** All has moved that can: say so, with what is counted of it, and count no more what the new process goes on with. */
async function moveCounters(
  { endedGenerations }: OldService,
  { channel, movable, batchTimeoutMs = defaultBatchTimeoutMs, told = [], staying }: MoveOutOptions,
): Promise<void> {
  const counted = countersOf(movable, told);
  const totals = counted.map(({ total }) => total);
  const stay = staying && { staying: staying() };
  channel.send({ moved: { totals, ended: [...(endedGenerations?.deferred ?? [])], ...stay } });
  const value = await withinTime(batchTimeoutMs, channel.receive());
  const answer = value === null ? null : readMoveAnswer(value);
  if (answer !== null && 'counted' in answer) handOverTotals(counted, answer.known);
}

function countersOf(movable: readonly DestinationView[], told: HandedCounters): Counted[] {
  const toldOf = new Map(told.map((each) => [each.destination, each]));
  return movable.flatMap(({ src, destination, isCurrent }): Counted[] => {
    const before = toldOf.get(destination);
    const stats = destination.stats();
    const [bytesIn, bytesOut] = [stats.bytesIn + (before?.bytesIn ?? 0), stats.bytesOut + (before?.bytesOut ?? 0)];
    // Of thousands of rules most may have moved nothing since the successor was told of them.
    if (stats.bytesIn + stats.bytesOut === 0) return [];
    const total = { src: textOf(src), dst: textOf(destination.spec), since: destination.since, bytesIn, bytesOut };
    return [{ destination, isCurrent, before, total }];
  });
}

/** What the new process goes on with is not counted here any more. One of a version that does not say which knows the rules' current destinations. */
function handOverTotals(counted: readonly Counted[], known: readonly number[] | undefined): void {
  const knownOf = known && new Set(known);
  for (const [index, { destination, isCurrent, before, total }] of counted.entries()) {
    if (knownOf ? !knownOf.has(index) : !isCurrent) continue;
    if (before) destination.add(before);
    destination.handOver(total);
  }
}

type Batch = {
  mover: Mover;
  channel: MoveChannel;
  socket: number;
  id: number;
  place: Place;
  connections: readonly MovedConnection[];
  batchTimeoutMs: number;
};

async function moveBatch({ mover, channel, socket, id, place, connections, batchTimeoutMs }: Batch): Promise<void> {
  // From before the successor can know of it: it gives up sooner than this process would count, if this one is stopped in between.
  const startMs = performance.now();
  try {
    sendBatch(socket, id, connections);
    channel.send({ batch: { id, ...place } });
    const answer = readMoveAnswer(await withinTime(batchTimeoutMs, channel.receive(), startMs));
    if (!('received' in answer) || answer.received !== id)
      throw new GraceError('reason' in answer ? answer.reason : 'the new process talks about something else');
  } catch (error) {
    channel.send({ drop: id });
    mover.thaw(connections);
    throw error;
  }
  mover.release(connections);
  channel.send({ keep: id });
}

/** Rejects with GraceError when the answer is there later than so long after the start (by `performance.now()`), however late anybody looks. */
async function withinTime<T>(timeoutMs: number, answer: Promise<T>, startMs = performance.now()): Promise<T> {
  const onLate = (): never => {
    throw new GraceError(`the new process did not answer within ${timeoutMs / 1000} s`);
  };
  const answered = await within(answer, timeoutMs, { onLate });
  // When this process was stopped itself, an answer may lie there that the other one has given up on.
  return performance.now() - startMs > timeoutMs ? onLate() : answered;
}
