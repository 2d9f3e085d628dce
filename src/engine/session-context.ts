/** Whose TLS sessions are resumed where: both engines ask, so that a session that one began is as good at the other. */
import { createHash } from 'node:crypto';
import { listenKey } from '../endpoint/identity.ts';
import type { SslServer, TlsServer } from '../endpoint/model.ts';

/**
 * The session id context of a listener. Sessions are resumed that were begun at the same place, which asks its clients for the
 * same: one that was begun elsewhere must not do without a certificate that is asked for here (OpenSSL allows 32 bytes).
 *
 * @param ca authorities of client certificates, as PEM; null: clients are asked for none
 */
export function sessionIdContext(endpoint: SslServer | TlsServer, ca: string | null): string {
  const { clientAuth, minTLS, ciphers } = endpoint;
  return createHash('sha256')
    .update(JSON.stringify([listenKey(endpoint), ca, clientAuth, minTLS, ciphers]))
    .digest('hex')
    .slice(0, 32);
}
