/**
 * What a header of version 2 of the PROXY protocol tells beside addresses: fields of a type, a length and a value (TLV),
 * section 2.2 of the specification that proxy-header.ts names.
 */

/** One of them. */
export type ProxyField = { readonly type: number; readonly value: Uint8Array };

/** The protocol that was agreed on by ALPN. */
const PP2_TYPE_ALPN = 0x01;
/** The name that the client asked for, by SNI. */
const PP2_TYPE_AUTHORITY = 0x02;
/** The checksum of the whole header, section 2.2.4. */
export const PP2_TYPE_CRC32C = 0x03;
/** Nothing. */
const PP2_TYPE_NOOP = 0x04;
/** What names the connection, 128 bytes at most. */
export const PP2_TYPE_UNIQUE_ID = 0x05;
/** What the client's TLS is, section 2.2.5. */
export const PP2_TYPE_SSL = 0x20;
/** A network namespace of the machine that the header comes from. */
const PP2_TYPE_NETNS = 0x30;

/** What a client that speaks TLS has agreed on and shown of itself; what is not known is absent. */
export type ProxyTls = {
  /** As in `TLSv1.3`. */
  version: string;
  /** OpenSSL's name of it. */
  cipher?: string | undefined;
  /** Of the certificate that it was shown: how that is signed, and what its key is, as in `RSA2048`. */
  signature?: string | undefined;
  key?: string | undefined;
  alpn?: string | undefined;
  serverName?: string | undefined;
  /** The common name of its own certificate, which has been verified; null for a client without one. */
  clientName: string | null;
  /** The session was begun earlier, and with it the certificate shown. */
  isResumed: boolean;
};

/** The fields that tell of it. */
export function tlsFields({ alpn, serverName, ...tls }: ProxyTls): ProxyField[] {
  return [...textField(PP2_TYPE_ALPN, alpn), ...textField(PP2_TYPE_AUTHORITY, serverName), sslField(tls)];
}

/** Which bits say what of the client, a zero for a certificate that was verified, and the parts. */
function sslField(tls: Omit<ProxyTls, 'alpn' | 'serverName'>): ProxyField {
  const { version, clientName, cipher, signature, key, isResumed } = tls;
  const hasCertificate = clientName !== null;
  const bits = 0x01 | (hasCertificate ? 0x04 : 0) | (hasCertificate && !isResumed ? 0x02 : 0);
  const parts = [
    ...textField(0x21, version),
    ...textField(0x22, clientName ?? undefined),
    ...textField(0x23, cipher),
    ...textField(0x24, signature),
    ...textField(0x25, key),
  ];
  return {
    type: PP2_TYPE_SSL,
    value: Uint8Array.from([bits, 0, 0, 0, hasCertificate ? 0 : 1, ...encodeFields(parts)]),
  };
}

/** Empty where there is nothing to say. */
function textField(type: number, text: string | undefined): ProxyField[] {
  return text === undefined ? [] : [{ type, value: new TextEncoder().encode(text) }];
}

/** The bytes of fields, one after the other. */
export function encodeFields(fields: readonly ProxyField[]): number[] {
  return fields.flatMap(({ type, value }) => [type, value.length >> 8, value.length & 255, ...value]);
}

/** Those of these fields that are as true elsewhere as they are here. A checksum is of one header, and padding of none. */
export function passedOn(fields: readonly ProxyField[]): ProxyField[] {
  return fields.filter(({ type }) => type !== PP2_TYPE_CRC32C && type !== PP2_TYPE_NOOP && type !== PP2_TYPE_NETNS);
}

/** What we know ourselves, and of what we were told the rest. */
export function mergeFields(own: readonly ProxyField[], told: readonly ProxyField[]): ProxyField[] {
  return [...own, ...told.filter(({ type }) => !own.some((field) => field.type === type))];
}
