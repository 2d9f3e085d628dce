/**
 * The key exchange of a TLS connection. node:tls tells of it on the client's side only; but OpenSSL (3.2 and later)
 * notes it in the session, which both sides can have: `SSL_SESSION_ASN1` of ssl/ssl_asn1.c, element 19.
 */
import type { TLSSocket } from 'node:tls';
import { nameOfGroup } from '../tls-names.ts';

/** Constructed, context-specific, number 19. */
const GROUP_TAG = 0xb3;
const INTEGER_TAG = 0x02;

/** The key exchange of a TLS socket, on either side; null where it cannot be told. */
export function groupOf(socket: TLSSocket): string | null {
  const info = socket.getEphemeralKeyInfo() as { name?: string } | null;
  if (info?.name !== undefined) return info.name === 'prime256v1' ? 'secp256r1' : info.name;
  const session = socket.getSession();
  return session ? readGroup(session) : null;
}

/** The name of the group in a server's session, as `getSession` gives it; null where it says none. */
function readGroup(session: Uint8Array): string | null {
  const outer = readElement(session, 0);
  if (outer === null) return null;
  for (let at = outer.start; at < outer.end;) {
    const element = readElement(session, at);
    if (element === null) return null;
    if (element.tag === GROUP_TAG) return nameOf(session, element.start);
    at = element.end;
  }
  return null;
}

function nameOf(session: Uint8Array, at: number): string | null {
  const integer = readElement(session, at);
  if (integer?.tag !== INTEGER_TAG) return null;
  const group = session.subarray(integer.start, integer.end).reduce((value, byte) => value * 256 + byte, 0);
  return nameOfGroup(group);
}

/** Where the contents of a DER element are; null when it is not whole. Tags of one byte are all there are here. */
function readElement(bytes: Uint8Array, at: number): { tag: number; start: number; end: number } | null {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) return null;
  const lengthBytes = first < 0x80 ? 0 : first - 0x80;
  const start = at + 2 + lengthBytes;
  const length =
    lengthBytes === 0 ? first : bytes.subarray(at + 2, start).reduce((value, byte) => value * 256 + byte, 0);
  const end = start + length;
  return end > bytes.length ? null : { tag, start, end };
}
