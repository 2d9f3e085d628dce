/**
 * Open connections on their way from one process to another: how a batch of them is
 * written down. What an engine can do about it is `Mover` in engine.ts.
 *
 * A batch is a message with descriptors (SCM_RIGHTS). The first is a file in memory with everything
 * that is to be known, bytes in flight included; the others are the sockets, of each connection the
 * client's and then, unless it is still being dialled, the upstream's.
 */
import { closeFd } from '../sys/descriptor.ts';
import { openMemoryFile, readMemoryFile, sealMemoryFile } from '../sys/memory-file.ts';
import { MAX_FDS_PER_MESSAGE, receiveMessage, sendMessage } from '../sys/message.ts';
import { GraceError } from '../error.ts';
import type { SpokenFor } from './spoken-for.ts';
import type { Chosen } from './sni-choice.ts';

/** How one side of a connection stands. */
export type MovedLeg = {
  fd: number;
  isUnix: boolean;
  /** Read to its end. */
  hasEnded: boolean;
  /** Our direction towards it was ended, of which the system tells nobody. */
  isShut: boolean;
  /** A write to it failed. */
  isBroken: boolean;
  /** Bytes of the other side that it has not taken yet. */
  pending: Uint8Array;
  /** Bytes read from it so far. */
  bytes: number;
  /** Of a leg that speaks TLS in its engine. */
  tls?: MovedTls;
};

/** TLS of a leg on its way. */
export type MovedTls = {
  /** What the engine knows of it, in which there is no secret. */
  state: Uint8Array;
  /** Its keys; absent where they are in memory that both sides see. Whoever has taken them zeroes these. */
  keys?: Uint8Array;
};

/** A connection that no process touches for the moment. */
export type MovedConnection = SpokenFor & {
  client: MovedLeg;
  /** Null while it is being dialled, which whoever goes on with it does anew. */
  server: MovedLeg | null;
  /** Milliseconds since the epoch; by a clock that may be set, for versions that do not know `ageMs`. */
  startedMs: number;
  /** For how many milliseconds it has been there. */
  ageMs?: number;
  /** The client's address, as observers are told it. */
  peer: string;
  /** For so long no byte had moved, as far as anybody looked. */
  quietMs?: number;
  /** Milliseconds that connecting took, of one that is connected. Absent from earlier versions. */
  connectMs?: number;
  /** Which process of the daemon accepted it, where the one that sends it knows. */
  generation?: number | undefined;
  /** Its number, which it keeps; absent from earlier versions. See connection-ids.ts. */
  id?: number;
  /** Of one that is connected: what the name decided that the client asked for. */
  chosen?: Chosen | undefined;
  /** Milliseconds since the dial began, and since its latest attempt did; of a connection that is being dialled. */
  dialing?: DialAge | undefined;
};

/** Ages of a dial, in milliseconds. */
export type DialAge = { sinceMs: number; attemptMs: number };

/** Most connections of a batch: two sockets each, and the file. */
export const CONNECTIONS_PER_BATCH: number = Math.floor((MAX_FDS_PER_MESSAGE - 1) / 2);

/**
 * Plain connections; with TLS; with clients of whom a PROXY header tells, or is to tell, what their destination has not
 * been told yet. A process that does not know one of these refuses it.
 */
const FORMAT = 1;
const FORMAT_WITH_TLS = 2;
const FORMAT_WITH_HEADERS = 3;
/** Longest text of a batch message itself. */
const HEAD_SIZE = 256;

type Head = { format: number; batch: number; size: number };
type WrittenLeg = Omit<MovedLeg, 'fd' | 'pending' | 'tls'> & {
  pending: number;
  tls?: { state: number; keys: number };
};
type WrittenConnection = Omit<MovedConnection, 'client' | 'server'> & { client: WrittenLeg; server: WrittenLeg | null };

/** Send connections over a seqpacket socket; the caller keeps its descriptors. Throws SystemError. */
export function sendBatch(socket: number, batch: number, connections: readonly MovedConnection[]): void {
  const contents = writeBatch(connections);
  const file = openMemoryFile('grace-connections', contents);
  try {
    sealMemoryFile(file);
    const head: Head = { format: formatOf(connections), batch, size: contents.length };
    const fds = connections.flatMap(({ client, server }) => (server === null ? [client.fd] : [client.fd, server.fd]));
    sendMessage(socket, new TextEncoder().encode(JSON.stringify(head)), { fds: [file, ...fds] });
  } finally {
    closeFd(file);
    contents.fill(0); // there may be keys in it
  }
}

function formatOf(connections: readonly MovedConnection[]): number {
  if (connections.some(({ told, headerLeftMs }) => told !== undefined || headerLeftMs !== undefined))
    return FORMAT_WITH_HEADERS;
  return connections.flatMap(legsOf).some(({ tls }) => tls) ? FORMAT_WITH_TLS : FORMAT;
}

/** Receive a batch that has been sent. The descriptors are the caller's. Throws GraceError, and keeps none, when it is not whole. */
export function receiveBatch(socket: number, batch: number): MovedConnection[] {
  const message = receiveMessage(socket, { size: HEAD_SIZE, maxFds: MAX_FDS_PER_MESSAGE });
  if (message === null) throw new GraceError('the connections that were announced did not come');
  const [file, ...fds] = message.fds;
  try {
    const head = JSON.parse(new TextDecoder().decode(message.data)) as Head;
    if (![FORMAT, FORMAT_WITH_TLS, FORMAT_WITH_HEADERS].includes(head.format) || head.batch !== batch)
      throw new GraceError(`the connections that came are batch ${head.batch} of format ${head.format}`);
    if (message.fdsTruncated || file === undefined)
      throw new GraceError('not all descriptors arrived; this process may have too many open (RLIMIT_NOFILE)');
    const contents = readMemoryFile(file, head.size);
    try {
      return readBatch(contents, fds);
    } finally {
      contents.fill(0); // there may be keys in it
    }
  } catch (error) {
    for (const fd of fds) closeFd(fd);
    throw error;
  } finally {
    if (file !== undefined) closeFd(file);
  }
}

/** A line of JSON, then the bytes in flight one after the other. */
function writeBatch(connections: readonly MovedConnection[]): Uint8Array {
  const legs = connections.flatMap(legsOf);
  const written = connections.map(({ client, server, ...rest }): WrittenConnection => ({
    ...rest,
    client: writeLeg(client),
    server: server && writeLeg(server),
  }));
  const parts = legs.flatMap(({ pending, tls }) => [pending, ...(tls ? [tls.state, tls.keys!] : [])]);
  return Buffer.concat([Buffer.from(`${JSON.stringify(written)}\n`), ...parts]);
}

function legsOf({ client, server }: MovedConnection): MovedLeg[] {
  return server === null ? [client] : [client, server];
}

function writeLeg(leg: MovedLeg): WrittenLeg {
  const { fd: _, pending, tls, ...rest } = leg;
  return {
    ...rest,
    pending: pending.length,
    ...(tls && { tls: { state: tls.state.length, keys: tls.keys!.length } }),
  };
}

function readBatch(contents: Uint8Array, fds: readonly number[]): MovedConnection[] {
  const headEnd = contents.indexOf(0x0a);
  const written = JSON.parse(new TextDecoder().decode(contents.subarray(0, headEnd))) as WrittenConnection[];
  const expected = written.reduce((sum, { server }) => sum + (server === null ? 1 : 2), 0);
  if (expected !== fds.length) throw new GraceError(`${expected} sockets were announced and ${fds.length} came`);
  let at = headEnd + 1;
  let next = 0;
  const readLeg = (leg: WrittenLeg): MovedLeg => {
    const take = (size: number) => contents.slice(at, (at += size));
    const { tls, ...rest } = leg;
    const pending = take(leg.pending);
    return {
      ...rest,
      pending,
      fd: fds[next++]!,
      ...(tls && { tls: { state: take(tls.state), keys: take(tls.keys) } }),
    };
  };
  return written.map((connection) => {
    const client = readLeg(connection.client);
    return { ...connection, client, server: connection.server && readLeg(connection.server) };
  });
}
