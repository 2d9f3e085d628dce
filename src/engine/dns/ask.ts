/** Asking name servers, one after the other: over UDP, and over TCP where an answer is too long for that. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import net, { isIPv6 } from 'node:net';
import { hostPort } from '../../endpoint/address.ts';
import type { NameServer } from '../../endpoint/name-servers.ts';
import { errorCode, errorMessage, GraceError } from '../../error.ts';
import { unlessAborted } from '../../waiting.ts';
import { encodeQuestion, readReply } from './packet.ts';
import type { Question, RecordType, Reply } from './packet.ts';

/** So long a server is waited for, in milliseconds, in each round. */
const PATIENCE_MS = [1000, 2000];
/** Datagrams that are looked at while one is waited for: what is no answer costs time as well. */
const MAX_DATAGRAMS = 100;
/** Length of an answer over TCP, which two bytes tell. */
const MAX_REPLY = 2 ** 16 + 1;

/** Whom to ask. The signal ends it, with its reason. */
export type AskOptions = { servers: readonly NameServer[]; signal: AbortSignal };

/** What a server that knows something says. */
export type ServerAnswer = Extract<Reply, { kind: 'answer' }>;

/**
 * Ask until one answers. Rejects with GraceError (code EAI_AGAIN) that says what became of each when
 * none does, or with the signal's reason.
 */
export async function askServers(
  name: string,
  type: RecordType,
  { servers, signal }: AskOptions,
): Promise<ServerAnswer> {
  const failures = new Map<string, string>();
  for (const patienceMs of PATIENCE_MS)
    for (const server of servers) {
      signal.throwIfAborted();
      const limit = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
      try {
        const reply = await askOne(server, { id: randomInt(2 ** 16), name, type }, limit);
        if (reply.kind === 'answer') return reply;
        failures.set(hostPort(server), reply.kind === 'failed' ? `answers ${reply.code}` : 'sends half an answer');
      } catch (error) {
        signal.throwIfAborted();
        const why = errorCode(error) ?? errorMessage(error);
        failures.set(hostPort(server), limit.aborted ? 'does not answer' : `cannot be asked (${why})`);
      }
    }
  const causes = Array.from(failures, ([server, why]) => `${server} ${why}`);
  throw new GraceError(`no name server answers for ${name}: ${causes.join('; ')}`, { code: 'EAI_AGAIN' });
}

async function askOne(server: NameServer, question: Question, signal: AbortSignal): Promise<Reply> {
  const reply = await askOverUdp(server, question, signal);
  return reply.kind === 'truncated' ? askOverTcp(server, question, signal) : reply;
}

/** From a port of its own, which nobody else knows: connected, so that the system takes datagrams of this server alone. */
async function askOverUdp({ host, port }: NameServer, question: Question, signal: AbortSignal): Promise<Reply> {
  const packet = encodeQuestion(question);
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  let datagrams = 0;
  socket.on('error', reject); // stays: an error must never be without a listener
  socket.on('message', (bytes, { port: from }) => {
    const reply = from === port ? readReply(bytes, question) : null;
    if (reply !== null) resolve(reply);
    else if (++datagrams === MAX_DATAGRAMS) reject(new Error('it floods with datagrams that are no answer'));
  });
  socket.once('connect', () => socket.send(packet, (error) => error && reject(error)));
  socket.connect(port, host);
  try {
    return await unlessAborted(promise, signal);
  } finally {
    socket.close();
  }
}

/** A length in two bytes, then the packet, each way (RFC 7766, section 8). */
async function askOverTcp({ host, port }: NameServer, question: Question, signal: AbortSignal): Promise<Reply> {
  const packet = encodeQuestion(question);
  const socket = net.connect({ host, port });
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  let received: Buffer = Buffer.alloc(0);
  socket.on('error', reject); // stays, as that of the datagrams
  socket.once('end', () => reject(new Error('it closes the connection')));
  socket.on('data', (bytes: Buffer) => {
    received = Buffer.concat([received, bytes]);
    const length = received.length < 2 ? MAX_REPLY : received.readUInt16BE(0);
    if (received.length < length + 2) return;
    const reply = readReply(received.subarray(2, length + 2), question);
    if (reply) resolve(reply);
    else reject(new Error('what it says is no answer'));
  });
  socket.once('connect', () =>
    socket.write(Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet])),
  );
  try {
    return await unlessAborted(promise, signal);
  } finally {
    socket.destroy();
  }
}
