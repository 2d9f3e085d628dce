import { speaksTls } from '../../endpoint/inner.ts';
import { GraceError } from '../../error.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import type { SourceSpec } from '../../forward/rule.ts';

/** Refuse a rule whose source ends the TLS by which its destination is chosen. Throws GraceError. */
export function mustHearNames(src: SourceSpec, dst: DestinationSpec): void {
  if (dst.endpoint.type !== 'sni' || !speaksTls(src.endpoint)) return;
  throw new GraceError(`${src.typed} cannot lead to ${dst.typed}: it ends the TLS by which sni chooses`, {
    hint: 'listen on tcp: the TLS of clients goes to the destination as it is',
    code: 'ERR_GRACE_ENDPOINT',
  });
}
