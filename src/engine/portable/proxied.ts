/** Clients that a proxy speaks for: who they are is said by the header that comes first. */
import type { Socket } from 'node:net';
import type { ServerEndpoint } from '../../endpoint/model.ts';
import { GraceError } from '../../error.ts';
import { wordsOfHost } from '../admission/address-key.ts';
import { mayBeSpokenFor, planHeader } from '../header-plan.ts';
import { readProxyHeader } from '../proxy-parser.ts';
import type { ReadHeader } from '../proxy-parser.ts';
import { describeLateHeader, describeStranger } from '../words.ts';
import { peerOf } from './leg.ts';
import { peek } from './peek.ts';

/** Reads the header of a client. Rejects with GraceError for one without, with null when it went away, with the signal's reason. */
export type HeaderReader = (client: Socket, signal: AbortSignal) => Promise<ReadHeader>;

/** For an endpoint whose clients send a header (`haproxy:`, `proxy=accept`); null for any other. */
export function headerReaderOf(endpoint: ServerEndpoint): HeaderReader | null {
  const plan = planHeader(endpoint);
  if (plan === null) return null;
  return async (client, signal) => {
    const words = client.remoteAddress === undefined ? null : wordsOfHost(client.remoteAddress);
    if (!mayBeSpokenFor(plan, words))
      throw new GraceError(describeStranger(peerOf(client)), { code: 'ERR_GRACE_PROXY' });
    return await readHeader(client, signal, plan.timeoutMs);
  };
}

async function readHeader(client: Socket, signal: AbortSignal, timeoutMs: number): Promise<ReadHeader> {
  const late = AbortSignal.timeout(timeoutMs);
  let header: ReadHeader | null = null;
  let failure: unknown = null;
  let seen: Buffer = Buffer.alloc(0); // a header is some thousand bytes at most
  const isEnough = (part: Buffer): boolean => {
    try {
      seen = Buffer.concat([seen, part]);
      header = readProxyHeader(seen);
      return header !== null;
    } catch (error) {
      failure = error;
      return true;
    }
  };
  await peek(client, isEnough, AbortSignal.any([signal, late]));
  signal.throwIfAborted();
  if (failure !== null) throw failure;
  const found = header as ReadHeader | null;
  if (found === null) {
    if (late.aborted) throw new GraceError(describeLateHeader(timeoutMs), { code: 'ERR_GRACE_PROXY' });
    throw null; // it went away
  }
  client.read(found.length);
  return found;
}
