/** What a server says of the handshake after it, as TLS 1.3 has it: that it wants another certificate, or one at all. */
import type { TLSSocket } from 'node:tls';
import { errorCode, GraceError } from '../../error.ts';
import type { Leg } from './leg.ts';
import { shortened } from './originate.ts';

/** Whether the server's verdict on our certificate comes after the handshake. */
export function isTls13({ socket, carrier }: Leg): boolean {
  return socket !== carrier && (socket as TLSSocket).getProtocol() === 'TLSv1.3';
}

/** The next step of whoever was refused. */
export const CERTIFICATE_HINT = 'certKey=FILE (in tls: certificate=FILE) gives it a client certificate';

/** The error for what came in place of consent. */
export function refusal(error: unknown): GraceError {
  const text = error instanceof Error ? shortened(error) : String(error);
  if (errorCode(error) === 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' || /certificate.?required/i.test(text)) {
    return new GraceError('it wants a client certificate', { hint: CERTIFICATE_HINT, cause: error });
  }
  return new GraceError(`it refused after the TLS handshake: ${text}`, { hint: CERTIFICATE_HINT, cause: error });
}
