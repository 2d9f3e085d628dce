/** The daemon that this process succeeds, as this process sees it: messages.ts is what the two say. */
import { createReadStream } from 'node:fs';
import { readLines } from '../../control/lines.ts';
import { failureOf } from '../../control/messages.ts';
import { GraceError } from '../../error.ts';
import { goneWithin } from '../../waiting.ts';
import type { Launcher } from '../launcher.ts';
import { send, sendIfHeard } from '../standard-output.ts';
import { parseHandover, readGo } from './messages.ts';
import type { Handover } from './messages.ts';
import { moveFormat } from './move.ts';

/** Hear what the predecessor hands over, on standard input. Rejects with GraceError, which the predecessor was told of, when this version cannot go on with it. */
export async function attachToPredecessor(): Promise<Launcher> {
  const messages = readLines(createReadStream('', { fd: 0, autoClose: false }));
  const receive = async (): Promise<unknown> => {
    const { done, value } = await messages.next();
    if (done) throw new GraceError('the daemon that is to be replaced went away');
    return value;
  };
  const first = await receive();
  const parsed = parseOrFail(
    typeof first === 'object' && first !== null && 'handover' in first ? first.handover : undefined,
  );
  const predecessor: Launcher = {
    kind: 'predecessor',
    handover: parsed,
    moving: null,
    note: () => {}, // it is in the log; nobody reads the stderr of a successor that serves
    failed: (failure) => void sendIfHeard({ failed: failure }),
    async ready({ version, canMove, takesTls }) {
      const move = canMove && parsed.move === moveFormat;
      const { moveTls } = parsed;
      const tls = move && moveTls !== undefined && takesTls(moveTls);
      if (move) predecessor.moving = { send, receive: () => receive().catch(() => null) };
      send({ ready: { pid: process.pid, version, ...(move && { move: moveFormat }), ...(tls && { moveTls }) } });
      return readGo(await receive());
    },
    serving({ settleStreams }) {
      sendIfHeard({ serving: true });
      if (!predecessor.moving) settleStreams();
    },
    isDead: () => goneWithin(parsed.pid, deathTakesMs),
  };
  return predecessor;
}

/** Who is not told would wait: this process does not even end while it reads from the predecessor. */
function parseOrFail(handover: unknown): Handover {
  try {
    return parseHandover(handover);
  } catch (error) {
    send({ failed: failureOf(error) });
    throw error;
  }
}

/** Its pipes close a moment before a process that is killed counts as ended; on a busy machine it is a long one. */
const deathTakesMs = 2000;
