/** Clients that a proxy spoke for, on their way to another engine or another process: their header has been taken already. */
import { GraceError } from '../error.ts';
import { proxyHeader } from './proxy-header.ts';
import type { ProxySubject } from './proxy-header.ts';
import { readProxyHeader, toldSubject } from './proxy-parser.ts';

/** What has to be known of one. */
export type SpokenFor = {
  /** The address of the proxy, where that is not the client's. */
  via?: string;
  /** What its destination is to be told, which is not connected yet; see `writeSubject`. */
  told?: string;
  /** Its header has not come whole, is in its socket still, and may take so many milliseconds more. */
  headerLeftMs?: number;
};

/** Write down whom a destination is to be told of: a header of version 2, in Base64. */
export function writeSubject(subject: ProxySubject): string {
  return Buffer.from(proxyHeader('v2', subject)).toString('base64');
}

/** The same read. Throws GraceError for what was not written by `writeSubject`. */
export function readSubject(text: string): ProxySubject {
  const header = readProxyHeader(Buffer.from(text, 'base64'));
  if (header === null) throw new GraceError('what was told of a client is cut off');
  return toldSubject(header, 'unknown');
}
