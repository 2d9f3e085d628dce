/** Destinations by the name that a client asks for, whose TLS is not ended here. The native engine's is native/choose.ts. */
import type { SniClient } from '../../endpoint/model.ts';
import { sniWays } from '../../endpoint/sni.ts';
import { GraceError } from '../../error.ts';
import { ClientHelloReader } from '../client-hello.ts';
import type { ClientHello } from '../client-hello.ts';
import type { ClosingReason } from '../closing-reason.ts';
import { heardOf, judge, MAX_CHOICE_BYTES, SniChoice, UNRECOGNIZED_NAME } from '../sni-choice.ts';
import type { Chosen, Heard } from '../sni-choice.ts';
import { placeOf } from '../words.ts';
import { openDialer } from './dial.ts';
import type { Dialer, Directory } from './dial.ts';
import { destroyLeg, resetLeg } from './leg.ts';
import type { Leg } from './leg.ts';
import { lingerOn } from './linger.ts';
import { peek } from './peek.ts';

/** What was chosen, and what connects there. */
export type Choice = { chosen: Chosen; dial: Dialer };

/**
 * Choose where a client goes, which is read no further than its ClientHello and has all of it still. Rejects with
 * {@link NotChosen} for one that is refused, which it sees to itself; with null when it went away; with the signal's reason.
 */
export type Chooser = (near: Leg, options: { limitMs: number; signal: AbortSignal }) => Promise<Choice>;

/** A client for which there is no destination. */
export class NotChosen extends GraceError {
  readonly why: ClosingReason;

  constructor(why: ClosingReason, reason: string) {
    super(reason);
    this.why = why;
  }
}

/** Prepare to connect to each destination of an endpoint. Throws GraceError when one is unusable. */
export function openChooser(endpoint: SniClient, directory: Directory): Chooser {
  const dialers = new Map(sniWays(endpoint).map(({ endpoint }) => [endpoint, openDialer(endpoint, directory)]));
  const ways = sniWays(endpoint).map(({ endpoint }) => ({ to: placeOf(endpoint), dial: dialers.get(endpoint)! }));
  const choice = new SniChoice(endpoint.routes);
  const hasDefault = endpoint.default !== null;
  return async (near, { limitMs, signal }) => {
    const heard = await hear(near, { limitMs, signal });
    const verdict = judge(choice, heard, { ways: ways.length, hasDefault, limitMs });
    if ('why' in verdict) {
      refuse(near, verdict);
      throw verdict.reason === null ? null : new NotChosen(verdict.why, verdict.reason);
    }
    const { to, dial } = ways[verdict.way]!;
    return { chosen: { name: heard.kind === 'hello' ? heard.asked.serverName : null, to }, dial };
  };
}

async function hear({ socket }: Leg, { limitMs, signal }: { limitMs: number; signal: AbortSignal }): Promise<Heard> {
  const late = AbortSignal.timeout(limitMs);
  const reader = new ClientHelloReader();
  let found: ClientHello | 'more' | null = 'more';
  let length = 0;
  const isEnough = (part: Buffer) => {
    const before = length;
    length += part.length;
    if (found === 'more') found = reader.add(part.subarray(0, MAX_CHOICE_BYTES - before));
    return found !== 'more' || length >= MAX_CHOICE_BYTES;
  };
  await peek(socket, isEnough, AbortSignal.any([signal, late]));
  signal.throwIfAborted();
  if (socket.destroyed) throw null; // it went away
  const isLate = late.aborted;
  return heardOf({ found, length, hasEnded: !isLate, isLate })!; // by either something is known
}

/** A reset could overtake an alert. */
function refuse(near: Leg, { isTold }: { isTold: boolean }): void {
  if (!isTold) return resetLeg(near);
  near.socket.end(UNRECOGNIZED_NAME);
  near.socket.on('data', () => {}); // what it still says is for nobody
  lingerOn(near, { hasEnded: true, done: () => destroyLeg(near) });
}
