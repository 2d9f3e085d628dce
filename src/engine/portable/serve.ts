/** The life of one client: handshake, dial, relay, end. */
import type { TLSSocket } from 'node:tls';
import { errorCode, GraceError } from '../../error.ts';
import { dialReason } from '../closing-reason.ts';
import type { ClosingReason } from '../closing-reason.ts';
import type { ConnectionEnd } from '../engine.ts';
import { jittered } from '../policy.ts';
import { describeRefusal } from '../words.ts';
import { NotChosen } from './choose.ts';
import { codesOf } from './dial.ts';
import type { Dialer } from './dial.ts';
import { addressText, closedLeg, closeLeg, ignoreError, peerOf, plainLeg, resetLeg, tuneSocket } from './leg.ts';
import type { Leg } from './leg.ts';
import type { Socket } from 'node:net';
import type { PreludeSubject } from '../prelude.ts';
import { endsOf, withFields, withOwnEnds } from '../proxy-header.ts';
import { toldSubject } from '../proxy-parser.ts';
import { readSubject } from '../spoken-for.ts';
import type { SpokenFor } from '../spoken-for.ts';
import { writeId } from '../connection-ids.ts';
import { fieldsOfTls, isResumed } from './tls-fields.ts';
import { relay } from './relay.ts';
import type { RefusalOfClient } from '../admission/admission.ts';
import type { Place } from './place.ts';
import type { HeaderReader } from './proxied.ts';
import type { Terminator } from './terminate.ts';
import { EndedHere } from './connection.ts';
import type { PortableUpstream } from './upstream.ts';
import type { Going, PeerMonitor } from './peer-monitor.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** Where an accepted client goes, and how. */
export type ServeClientOptions = {
  upstream: PortableUpstream;
  /** Null: the client sends no PROXY header. */
  headerReader: HeaderReader | null;
  /** It has sent its header, to another engine. */
  spokenFor?: SpokenFor | undefined;
  /** Taken for it, or with a header yet to be taken. Whoever gave it leaves it. */
  place: Place;
  /** Null: the client does not speak TLS. */
  terminator: Terminator | null;
  /** Where it waits before it is dialled for; null: it never does. */
  waitingRoom: WaitingRoom | null;
  peerMonitor: PeerMonitor;
  idleMs: number | null;
  /** Longest that a ClientHello by which its destination is chosen may take. */
  helloMs: number;
  /** Closed after so long, give or take a tenth; null: never. */
  lifetimeMs: number | null;
  /** Most bytes kept each way for a peer that does not read; null: as the runtime does it. */
  bufferBytes: number | null;
  /** The upstream is connected. */
  connected: () => void;
};

/**
 * Serve an accepted client, which is still paused, until its sockets and those of its upstream are
 * closed; it is counted all the while. Nothing is read from it before its upstream is connected, but
 * the handshake of TLS. A client whose upstream cannot be reached is reset. Never rejects.
 */
export async function serveClient(
  client: Socket,
  {
    upstream: accepting,
    headerReader,
    spokenFor,
    place,
    terminator,
    waitingRoom,
    peerMonitor,
    idleMs,
    helloMs,
    lifetimeMs,
    bufferBytes,
    connected,
  }: ServeClientOptions,
): Promise<ConnectionEnd> {
  let upstream = accepting;
  const connection = upstream.admit();
  const { signal } = connection;
  const socketPeer = peerOf(client);
  connection.peer = socketPeer;
  const own = subjectOf(client);
  let subject = spokenFor?.told === undefined ? own : withOwnEnds(readSubject(spokenFor.told), () => own);
  const gone = () => connection.end(null);
  client.on('error', ignoreError);
  client.once('close', gone);
  tuneSocket(client);

  /** End the connection when the client leaves in the meantime. */
  const watched = async <T>(leg: Leg, going: Going, wait: () => Promise<T>): Promise<T> => {
    const forget = peerMonitor.watch(leg, going, gone);
    try {
      return await wait();
    } finally {
      forget();
    }
  };

  let near = plainLeg(client);
  const reader = spokenFor ? null : headerReader;
  if (spokenFor) connection.peer = spokenPeer(subject) ?? socketPeer;
  let stage: ConnectionEnd['stage'] = reader || terminator ? 'handshake' : 'dial';
  let error: Error | null;
  let why: ClosingReason;
  let tls: ConnectionEnd['tls'] = null;
  try {
    if (reader) {
      await watched(near, 'reset or end', async () => {
        const header = await reader(client, signal);
        const { ends } = header;
        subject = toldSubject(header, own);
        if (ends) connection.peer = addressText(ends.client);
        const refusal = place.take(client, ends?.client.host);
        if (refusal !== null) throw new ClientRefused(refusal);
      }).catch((reason: unknown) => {
        resetLeg(near);
        throw reason;
      });
    }
    if (terminator) {
      near = await watched(near, 'reset or end', () => terminator.handshake(near, signal)).catch((reason: unknown) => {
        upstream.row.countHandshake('client', null);
        throw reason;
      });
      tls = tlsOf(near);
      upstream.row.countHandshake('client', { version: tls?.version, isResumed: isResumed(near) });
      const secure = near;
      subject = withFields(subject, () => fieldsOfTls(secure));
    }
    stage = 'dial';
    if (waitingRoom?.isClosed) {
      const moved = (to: PortableUpstream) => void (upstream = to);
      await watched(near, 'reset', () => waitingRoom.wait(connection, { upstream, moved }));
    }
    const { way } = upstream;
    let dial: Dialer;
    if ('dial' in way) dial = way.dial;
    else {
      stage = 'handshake';
      const choice = await watched(near, 'reset', () => way.choose(near, { limitMs: helloMs, signal }));
      dial = choice.dial;
      connection.chosen = choice.chosen;
      stage = 'dial';
    }
    const dialedMs = performance.now();
    const far = await watched(near, 'reset', () => dial({ signal, subject, id: () => writeId(connection.id) }));
    stage = 'relay';
    const farTls = tlsOf(far);
    if (farTls) upstream.row.countHandshake('upstream', { version: farTls.version, isResumed: isResumed(far) });
    upstream.connected(connection, { legs: { near, far }, connectMs: performance.now() - dialedMs });
    connected();
    // From here on it is the relay that sees to the end of the client.
    client.off('close', gone);
    ({ error, why } = await relay(near, far, {
      idleMs,
      leftMs:
        lifetimeMs === null
          ? null
          : jittered(lifetimeMs, Math.random() * 2 ** 31) - (performance.now() - connection.startedMs),
      signal,
      bufferBytes,
      peerMonitor,
      movedIn: (bytes) => upstream.movedIn(connection, bytes),
      movedOut: (bytes) => upstream.movedOut(connection, bytes),
    }));
  } catch (reason) {
    const isEndedHere = reason instanceof EndedHere;
    error = reason instanceof Error && !isEndedHere ? reason : null;
    why = whyUnserved(stage, reason);
    if (why === 'dial-tls-failed') upstream.row.countHandshake('upstream', null);
    if (isEndedHere) closeLeg(near);
    // A handshake that failed has seen to its client itself: it may be about to get an alert.
    else if (stage !== 'handshake') resetLeg(near);
    await closedLeg(near);
  }
  upstream.release(connection, why);
  const { peer, bytesIn, bytesOut, ageMs: durationMs, connectMs, chosen } = connection;
  return {
    peer,
    via: peer === socketPeer ? null : socketPeer,
    upstream,
    stage,
    error,
    reason: why,
    bytesIn,
    bytesOut,
    startedMs: Date.now() - durationMs,
    connectMs,
    durationMs,
    tls,
    ...(chosen && { chosen }),
    generation: null,
  };
}

/** Who came may not come in, or not so often. */
class ClientRefused extends GraceError {
  readonly why: RefusalOfClient;

  constructor(why: RefusalOfClient) {
    super(describeRefusal(why));
    this.why = why;
  }
}

/** Why a client did not come to its destination. */
function whyUnserved(stage: ConnectionEnd['stage'], reason: unknown): ClosingReason {
  if (reason instanceof EndedHere || reason instanceof ClientRefused || reason instanceof NotChosen) return reason.why;
  if (!(reason instanceof Error)) return 'client-gone';
  if (stage === 'dial') return dialReason(codesOf(reason));
  if (stage === 'relay') return 'error';
  return errorCode(reason) === 'ERR_GRACE_PROXY' ? 'proxy-refused' : 'handshake-failed';
}

function tlsOf({ socket, tls }: Leg): ConnectionEnd['tls'] {
  if (!('getProtocol' in socket)) return null;
  const { servername } = socket as TLSSocket;
  return {
    version: (socket as TLSSocket).getProtocol?.() ?? 'unknown',
    name: typeof servername === 'string' && servername !== '' ? servername : null,
    ...(tls?.clientName ? { client: tls.clientName } : {}),
  };
}

/** The address of a client that a proxy spoke for; null where it told of none. */
function spokenPeer(subject: PreludeSubject): string | null {
  const ends = endsOf(subject);
  return ends && addressText(ends.client);
}

/** Whom the upstream has to do with, while the client is still there. */
function subjectOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): PreludeSubject {
  if (remoteAddress === undefined || remotePort === undefined || localAddress === undefined || localPort === undefined)
    return 'unknown';
  return { client: { host: remoteAddress, port: remotePort }, accepted: { host: localAddress, port: localPort } };
}
