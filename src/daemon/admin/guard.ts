/** Who may ask over HTTP. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isLoopback } from '../../control/admin.ts';

/**
 * Whether a request has the token, compared in a time that does not tell how much of it is right.
 *
 * @param authorization the header of that name, `Bearer TOKEN`
 */
export function hasToken(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1] ?? '';
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * Whether a browser that asks means this machine. A page of a stranger can have its own name resolve to 127.0.0.1
 * and read what is answered there (DNS rebinding); what it cannot have is another name in this header.
 */
export function isOwnHost(host: string | undefined): boolean {
  if (host === undefined) return false;
  const name = host.replace(/:[0-9]*$/, '').replace(/^\[(.*)\]$/, '$1');
  return isLoopback(name.toLowerCase());
}
