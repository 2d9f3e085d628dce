/**
 * Open connections pass from the old daemon to its successor, once that one serves: a batch at a
 * time, the sockets over a socket pair, the words about them on the channel of the restart.
 *
 *     old → new   batch      which rule and destination; the connections are on the socket pair, frozen
 *     new → old   received   or refused, with the reason
 *     old → new   keep       the old one has let go: they are yours
 *                 drop       they go on in the old one after all
 *     old → new   moved      no more; the counters of every destination, and generations that have ended meanwhile
 *     new → old   counted    which of the counters it goes on with
 *
 * At no time may both move bytes of a connection. So the new one does nothing with a batch before
 * `keep`, and the old one nothing after it. What cannot be moved stays and drains in the old process,
 * as everything does when one of the two does not know how to move. TLS moves where both have said that they mean the same by it
 * (`moveTls`); a client in the middle of its handshake is waited for a moment, and else finishes it in the old process, and stays.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { EndpointText, Staying } from '../../control/shapes.ts';
import { CONNECTIONS_PER_BATCH, receiveBatch, sendBatch } from '../../engine/transfer.ts';
import type { Mover } from '../../engine/engine.ts';
import type { MovedConnection } from '../../engine/transfer.ts';
import { errorMessage, GraceError } from '../../error.ts';
import { within } from '../../waiting.ts';
import type { DestinationView } from '../../forward/table.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import { closeFd } from '../../sys/descriptor.ts';
import type { Service } from '../service.ts';
import { readMoveAnswer, readMoveMessage } from './messages.ts';
import type { MoveChannel, MoveMessage } from './messages.ts';
import type { HandedCounters } from './state.ts';
import { readRule, textOf } from '../rules/specs.ts';

/** The way of moving that `handover` offers and `ready` accepts. */
export const moveFormat = 1;

/** Longest that a successor may take over one batch, in milliseconds. */
const defaultBatchTimeoutMs = 5000;

/** Longest that the old process may be silent, in milliseconds. */
const defaultSilenceMs = 10_000;

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

/** Connections that have moved, and how many of them have TLS. */
export type MovedCount = { moved: number; movedTls: number };

/** In the old process: move what can be moved of these destinations. Resolves with how many connections were; never rejects. */
export async function moveOut(
  { engine, log, endedGenerations, generation }: OldService,
  { channel, socket, movable, tls = false, batchTimeoutMs = defaultBatchTimeoutMs, told = [], staying }: MoveOutOptions,
): Promise<MovedCount> {
  const { mover } = engine;
  const count = { moved: 0, movedTls: 0 };
  if (!mover) return count;
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
  try {
    await moveAll();
    const isShaking = () => tls && movable.some(({ destination }) => mover.handshakes(destination.upstream) > 0);
    for (const until = performance.now() + handshakesMs; isShaking() && performance.now() < until;) {
      await delay(handshakeLookMs);
      await moveAll();
    }
    const toldOf = new Map(told.map((each) => [each.destination, each]));
    const counted = movable.flatMap(({ src, destination, isCurrent }): Counted[] => {
      const before = toldOf.get(destination);
      const stats = destination.stats();
      const [bytesIn, bytesOut] = [stats.bytesIn + (before?.bytesIn ?? 0), stats.bytesOut + (before?.bytesOut ?? 0)];
      // Of thousands of rules most may have moved nothing since the successor was told of them.
      if (stats.bytesIn + stats.bytesOut === 0) return [];
      const total = { src: textOf(src), dst: textOf(destination.spec), since: destination.since, bytesIn, bytesOut };
      return [{ destination, isCurrent, before, total }];
    });
    const totals = counted.map(({ total }) => total);
    const stay = staying && { staying: staying() };
    channel.send({ moved: { totals, ended: [...(endedGenerations?.deferred ?? [])], ...stay } });
    const value = await withinTime(batchTimeoutMs, channel.receive());
    const answer = value === null ? null : readMoveAnswer(value);
    if (answer !== null && 'counted' in answer) handOverTotals(counted, answer.known);
  } catch (error) {
    log.warn({ error: errorMessage(error), moved: count.moved }, 'connections stay with this process until they end');
  }
  return count;
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

function countTls(connections: readonly MovedConnection[]): number {
  return connections.filter(({ client, server }) => client.tls || server?.tls).length;
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

/** By which way the new process takes what comes. */
export type MoveInOptions = {
  channel: MoveChannel;
  /** This process's end of the socket pair. */
  socket: number;
  /** Resolves with whether the old process has died. */
  isDead(): Promise<boolean>;
  /** Longest that the old process may be silent: more than it waits for this one. Default 10,000. */
  silenceMs?: number | undefined;
};

type MovingService = {
  engine: Service['engine'];
  log: Service['log'];
  forwarder: { adoption: Pick<Service['forwarder']['adoption'], 'receive' | 'carry'> } & Partial<
    Pick<Service['forwarder'], 'resumeDrain'>
  >;
  endedGenerations?: Service['endedGenerations'];
};

type ComingDrain = { spec: RuleSpec; endsAt: number };

/** What came, and what the old process says of what did not. */
export type MovedIn = MovedCount & { staying: Staying[] };

/** In the new process: take what comes, until the old one has no more or is gone. Resolves with how many connections came. */
export async function moveIn(service: MovingService, options: MoveInOptions): Promise<MovedIn> {
  const drains = new Map<string, ComingDrain>();
  try {
    return await takeBatches(service, options, drains);
  } finally {
    // With all that came: how many there are decides how fast they are closed.
    for (const { spec, endsAt } of drains.values())
      service.forwarder.resumeDrain?.(spec, Math.max(0, endsAt - performance.now()));
  }
}

async function takeBatches(
  service: MovingService,
  { channel, socket, isDead, silenceMs = defaultSilenceMs }: MoveInOptions,
  drains: Map<string, ComingDrain>,
): Promise<MovedIn> {
  const came: MovedIn = { moved: 0, movedTls: 0, staying: [] };
  let waiting: { id: number; spec: RuleSpec; since: string; connections: MovedConnection[] } | null = null;
  const keep = () => {
    if (!waiting) return;
    const movedTls = countTls(waiting.connections);
    const moved = adopt(service, waiting);
    came.moved += moved;
    if (moved > 0) came.movedTls += movedTls;
    waiting = null;
  };
  for (;;) {
    // An old process that hangs is one that has gone, for whoever asks this one about connections.
    const value = await within(channel.receive(), silenceMs, { onLate: () => null, ref: false });
    if (value === null) {
      // If it has died, nobody else has them; if it lives, it goes on with what it has not let go of.
      if (await isDead()) keep();
      else closeAll(waiting?.connections ?? []);
      return came;
    }
    let message: MoveMessage | null;
    try {
      message = readMoveMessage(value);
    } catch (error) {
      closeAll(waiting?.connections ?? []);
      throw error;
    }
    if (message === null) continue;
    if ('batch' in message) {
      const { id, src, dst, since, drainMs } = message.batch;
      try {
        if (!service.engine.mover?.canAdopt)
          throw new GraceError('the engine of the new process cannot take connections over');
        const spec = readRule({ src, dst });
        if (drainMs !== undefined)
          drains.set(JSON.stringify([src, dst]), { spec, endsAt: performance.now() + drainMs });
        waiting = { id, spec, since, connections: receiveBatch(socket, id) };
        // What is on its way is frozen: there is to be no more of it than the threads can begin with at once.
        await service.engine.mover.settled();
        channel.send({ received: id });
      } catch (error) {
        channel.send({ refused: id, reason: errorMessage(error) });
      }
    } else if ('keep' in message) keep();
    else if ('drop' in message) {
      closeAll(waiting?.connections ?? []);
      waiting = null;
    } else if ('moved' in message) {
      const { totals, ended = [], staying = [] } = message.moved;
      came.staying = staying;
      const known = totals.map(({ src, dst, ...carried }) =>
        service.forwarder.adoption.carry(readRule({ src, dst }), carried),
      );
      for (const report of ended) service.endedGenerations?.ended(report);
      channel.send({ counted: true, known: [...known.keys()].filter((index) => known[index]) });
      return came;
    }
  }
}

/** Returns how many connections there are now. */
function adopt(
  { forwarder, engine, log }: MovingService,
  { spec, since, connections }: { spec: RuleSpec; since: string; connections: MovedConnection[] },
): number {
  try {
    forwarder.adoption.receive(spec, since, (options) => engine.mover!.adopt(connections, options));
    return connections.length;
  } catch (error) {
    log.error(
      { src: spec.src.typed, dst: spec.dst.typed, connections: connections.length, error: errorMessage(error) },
      'connections of the replaced process are lost',
    );
    closeAll(connections);
    return 0;
  }
}

function closeAll(connections: readonly MovedConnection[]): void {
  for (const { client, server } of connections)
    for (const leg of server === null ? [client] : [client, server]) closeFd(leg.fd);
}
