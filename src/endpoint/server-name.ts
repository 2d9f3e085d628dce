import { isIP } from 'node:net';
import { wholeName } from './address.ts';
import type { SslClient, TlsClient } from './model.ts';

/**
 * The name that a server's certificate must be for, and the one to send in the handshake (SNI): the
 * same, in its `xn--` form and without a dot at its end; no IP address is sent (RFC 6066, section 3).
 */
export function serverNameOf(endpoint: SslClient | TlsClient): { checked: string; sent: string | null } {
  const hostname = endpoint.type === 'ssl' ? endpoint.hostname : null;
  const name = wholeName(endpoint.serverName ?? hostname ?? endpoint.host);
  return { checked: name, sent: isIP(name) === 0 ? name : null };
}
