/** What is told of an open connection, and of TLS on either side of it. */
import { TLSSocket } from 'node:tls';
import { writeId } from '../connection-ids.ts';
import type { OpenConnection, TlsFacts, Upstream } from '../engine.ts';
import type { Leg } from './leg.ts';
import { groupOf } from './tls-session.ts';
import type { Connection } from './connection.ts';

/** A connection of an upstream, as it is at this moment. */
export function describeConnection(connection: Connection, upstream: Upstream): OpenConnection {
  const { id, peer, legs, ageMs, movedMs, bytesIn, bytesOut, chosen } = connection;
  const clientTls = legs && tlsFacts(legs.near);
  const upstreamTls = legs && tlsFacts(legs.far);
  return {
    id: writeId(id),
    upstream,
    client: peer,
    state: legs === null ? 'dialing' : isHalfClosed(legs) ? 'half-closed' : 'open',
    startedMs: Math.round(Date.now() - ageMs),
    idleMs: Math.max(0, performance.now() - movedMs),
    bytesIn,
    bytesOut,
    ...(chosen && { chosen }),
    ...(clientTls && { clientTls }),
    ...(upstreamTls && { upstreamTls }),
  };
}

function isHalfClosed({ near, far }: { near: Leg; far: Leg }): boolean {
  return [near, far].some(({ socket }) => socket.readableEnded || socket.writableEnded);
}

/** What the two sides of a TLS leg agreed on; null without TLS, or when it has just gone. */
function tlsFacts({ socket }: Leg): TlsFacts | null {
  if (!(socket instanceof TLSSocket) || socket.destroyed) return null;
  try {
    const version = socket.getProtocol();
    if (version === null) return null;
    const group = groupOf(socket);
    return { version, cipher: socket.getCipher().standardName, ...(group !== null && { group }) };
  } catch {
    return null; // Deno does not tell all of it
  }
}
