/** Clients that a proxy speaks for: who they are is said by the header that comes first. */
import { BlockList, isIPv6 } from 'node:net';
import type { Socket } from 'node:net';
import type { BindableServer, ServerEndpoint } from '../../endpoint/model.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import { GraceError } from '../../error.ts';
import { PROXY_HEADER_TIMEOUT_MS } from '../policy.ts';
import { plainHost } from '../proxy-header.ts';
import { readProxyHeader } from '../proxy-parser.ts';
import type { ReadHeader } from '../proxy-parser.ts';
import { peek } from './peek.ts';

/** Reads the header of a client. Rejects with GraceError for one without, with null when it went away, with the signal's reason. */
export type HeaderReader = (client: Socket, signal: AbortSignal) => Promise<ReadHeader['ends']>;

/** For an endpoint whose clients send a header (`haproxy:`, `proxy=accept`); null for any other. */
export function headerReaderOf(endpoint: ServerEndpoint): HeaderReader | null {
  const inner = innerEndpoint(endpoint);
  if (inner.type === 'stdio' || (endpoint.type !== 'haproxy' && inner.proxy === undefined)) return null;
  const trusted = trustedBy(inner);
  return async (client, signal) => {
    if (trusted !== null && !trusted(client))
      throw new GraceError(
        `a client at ${client.remoteAddress ?? 'a Unix socket'} may not send a PROXY header (proxyFrom)`,
        { code: 'ERR_GRACE_PROXY' },
      );
    return await readHeader(client, signal, inner.headerTimeout ?? PROXY_HEADER_TIMEOUT_MS);
  };
}

function trustedBy({ proxyFrom }: BindableServer): ((client: Socket) => boolean) | null {
  if (proxyFrom === undefined) return null;
  const list = new BlockList();
  for (const range of proxyFrom) {
    const [address = '', bits] = range.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return ({ remoteAddress }) => {
    // A Unix socket has its mode.
    if (remoteAddress === undefined) return true;
    const host = plainHost(remoteAddress);
    return list.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
  };
}

async function readHeader(client: Socket, signal: AbortSignal, timeoutMs: number): Promise<ReadHeader['ends']> {
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
    if (late.aborted)
      throw new GraceError(`no PROXY header came within ${timeoutMs / 1000} s`, {
        code: 'ERR_GRACE_PROXY',
      });
    throw null; // it went away
  }
  client.read(found.length);
  return found.ends;
}
