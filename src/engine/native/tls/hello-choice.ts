/** What is chosen for a client by its ClientHello: the certificate that it is shown, and the protocol of ALPN. */
import { chooseCertificate } from '../../certificate-choice.ts';
import { KEY_TYPES, usableKeyTypes } from '../../client-hello.ts';
import type { ClientHello } from '../../client-hello.ts';
import type { HelloPlan } from '../thread-plans.ts';

/** An alert of TLS (RFC 8446, section 6): fatal, no_application_protocol. In the record of TLS 1.2, as every version has it before it is agreed on. */
export const NO_APPLICATION_PROTOCOL: Readonly<Uint8Array<ArrayBuffer>> = Uint8Array.of(21, 3, 3, 0, 2, 2, 120);

/** `context`: the address of an SSL_CTX to go on with; null: the first one. `protocol`: null without ALPN. */
export type Choice = { context: bigint | null; protocol: string | null };

/** The choice for a client; null when it knows none of our protocols, and is to be told so. */
export function chooseByHello({ certificates, hasOther, protocols }: HelloPlan, hello: ClientHello): Choice | null {
  const offered = hello.protocols;
  // In the order in which we prefer them, as with SSL_select_next_proto(3).
  const protocol = protocols?.find((each) => offered.includes(each)) ?? null;
  if (protocols !== null && protocol === null && offered.length > 0) return null;
  const { serverName } = hello;
  if (serverName === null || certificates.length === 0) return { context: null, protocol };
  const usable = usableKeyTypes(hello);
  const types = usable.length === 0 ? KEY_TYPES : usable;
  const chosen = chooseCertificate({ named: certificates, hasOther }, serverName, types);
  return { context: chosen ? BigInt(chosen.context) : null, protocol };
}
