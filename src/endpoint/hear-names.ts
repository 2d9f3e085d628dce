import { GraceError } from '../error.ts';
import { speaksTls } from './inner.ts';
import type { ClientEndpoint, ServerEndpoint } from './model.ts';

/** An end of a rule, with its text for messages. */
type End<Endpoint> = { typed: string; endpoint: Endpoint };

/** Refuse a rule whose source ends the TLS by which its destination is chosen. Throws GraceError. */
export function mustHearNames(src: End<ServerEndpoint>, dst: End<ClientEndpoint>): void {
  if (dst.endpoint.type !== 'sni' || !speaksTls(src.endpoint)) return;
  throw new GraceError(`${src.typed} cannot lead to ${dst.typed}: it ends the TLS by which sni chooses`, {
    hint: 'listen on tcp: the TLS of clients goes to the destination as it is',
    code: 'ERR_GRACE_ENDPOINT',
  });
}
