/** The new process's part of a move (move.ts): it takes what comes, and begins with it when the old one has let go. */
import type { Staying } from '../../control/shapes.ts';
import { receiveBatch } from '../../engine/transfer.ts';
import type { MovedConnection } from '../../engine/transfer.ts';
import { errorMessage, GraceError } from '../../error.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import { closeFd } from '../../sys/descriptor.ts';
import { within } from '../../waiting.ts';
import { readRule } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import { readMoveMessage } from './messages.ts';
import type { MoveChannel, MoveMessage } from './messages.ts';
import { countTls } from './move.ts';
import type { MovedCount } from './move.ts';

/** Longest that the old process may be silent, in milliseconds. */
const defaultSilenceMs = 10_000;

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

type MovingService = Pick<Service, 'engine' | 'log'> &
  Partial<Pick<Service, 'endedGenerations'>> & {
    forwarder: {
      adoption: Pick<Service['forwarder']['adoption'], 'receive' | 'carry'>;
      timedDrains?: Pick<Service['forwarder']['timedDrains'], 'resume'>;
    };
  };

/** What came, and what the old process says of what did not. */
export type MovedIn = MovedCount & { staying: Staying[] };

/** In the new process: take what comes, until the old one has no more or is gone. Resolves with how many connections came. */
export async function moveIn(
  service: MovingService,
  { channel, socket, isDead, silenceMs = defaultSilenceMs }: MoveInOptions,
): Promise<MovedIn> {
  const arrival = new Arrival(service, { channel, socket });
  try {
    for (;;) {
      // An old process that hangs is one that has gone, for whoever asks this one about connections.
      const value = await within(channel.receive(), silenceMs, { onLate: () => null, ref: false });
      if (value === null) {
        // If it has died, nobody else has them; if it lives, it goes on with what it has not let go of.
        if (await isDead()) arrival.keep();
        return arrival.came;
      }
      const message = readMoveMessage(value);
      if (message === null) continue;
      if ('batch' in message) await arrival.take(message.batch);
      else if ('keep' in message) arrival.keep();
      else if ('drop' in message) arrival.drop();
      else if ('moved' in message) {
        arrival.count(message.moved);
        return arrival.came;
      }
    }
  } finally {
    arrival.end();
  }
}

type Batch = Extract<MoveMessage, { batch: unknown }>['batch'];
type Counters = Extract<MoveMessage, { moved: unknown }>['moved'];
type WaitingBatch = { spec: RuleSpec; since: string; connections: MovedConnection[] };

/** What comes by one move. At most one batch is here that is not this process's yet. */
class Arrival {
  readonly came: MovedIn = { moved: 0, movedTls: 0, staying: [] };
  readonly #service: MovingService;
  readonly #by: Pick<MoveInOptions, 'channel' | 'socket'>;
  #waiting: WaitingBatch | null = null;
  readonly #drains = new Map<string, { spec: RuleSpec; endsAt: number }>();

  constructor(service: MovingService, by: Pick<MoveInOptions, 'channel' | 'socket'>) {
    this.#service = service;
    this.#by = by;
  }

  async take({ id, src, dst, since, drainMs }: Batch): Promise<void> {
    const { mover } = this.#service.engine;
    const { channel, socket } = this.#by;
    try {
      if (!mover?.canAdopt) throw new GraceError('the engine of the new process cannot take connections over');
      const spec = readRule({ src, dst });
      if (drainMs !== undefined)
        this.#drains.set(JSON.stringify([src, dst]), { spec, endsAt: performance.now() + drainMs });
      this.#waiting = { spec, since, connections: receiveBatch(socket, id) };
      // What is on its way is frozen: there is to be no more of it than the threads can begin with at once.
      await mover.settled();
      channel.send({ received: id });
    } catch (error) {
      channel.send({ refused: id, reason: errorMessage(error) });
    }
  }

  /** The batch is this process's now. */
  keep(): void {
    if (!this.#waiting) return;
    const movedTls = countTls(this.#waiting.connections);
    const moved = adopt(this.#service, this.#waiting);
    this.came.moved += moved;
    if (moved > 0) this.came.movedTls += movedTls;
    this.#waiting = null;
  }

  /** The batch goes on in the old process. */
  drop(): void {
    closeAll(this.#waiting?.connections ?? []);
    this.#waiting = null;
  }

  /** Nothing comes any more: go on with what the old process has counted. */
  count({ totals, ended = [], staying = [] }: Counters): void {
    const { forwarder, endedGenerations } = this.#service;
    this.came.staying = staying;
    const known = totals.map(({ src, dst, ...carried }) => forwarder.adoption.carry(readRule({ src, dst }), carried));
    for (const report of ended) endedGenerations?.ended(report);
    this.#by.channel.send({ counted: true, known: [...known.keys()].filter((index) => known[index]) });
  }

  end(): void {
    this.drop();
    // With all that came: how many there are decides how fast they are closed.
    for (const { spec, endsAt } of this.#drains.values())
      this.#service.forwarder.timedDrains?.resume(spec, Math.max(0, endsAt - performance.now()));
  }
}

/** Returns how many connections there are now. */
function adopt({ forwarder, engine, log }: MovingService, { spec, since, connections }: WaitingBatch): number {
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
