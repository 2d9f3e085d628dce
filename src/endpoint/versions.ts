/** TLS versions as node:tls takes them. */
export type TlsVersions = { minVersion: 'TLSv1.2'; maxVersion?: 'TLSv1.2' };

const negotiate: TlsVersions = { minVersion: 'TLSv1.2' };

/**
 * OpenSSL's method names that still make sense. Those of TLS 1.0 and 1.1 are taken so that an old
 * endpoint keeps working, and mean 1.2 or later: what they ask for is not spoken any more.
 */
const methods = new Map<string, TlsVersions>([
  ['TLS_METHOD', negotiate],
  ['TLS_SERVER_METHOD', negotiate],
  ['SSLv23_METHOD', negotiate],
  ['TLSv1_METHOD', negotiate],
  ['TLSv1_1_METHOD', negotiate],
  ['TLSv1_2_METHOD', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }],
]);

/** Twisted's names for TLS versions, as `sslmethod` takes them. */
export const tlsMethodNames: readonly string[] = [...methods.keys()];

/** The versions to offer for an `sslmethod`: TLS 1.2 and later, or exactly 1.2. */
export function tlsVersions(sslmethod: string | null): TlsVersions {
  return methods.get(sslmethod ?? 'TLS_METHOD') ?? negotiate;
}

/** Forward secrecy and authenticated encryption; without CBC (Lucky 13), CCM and ARIA, which few clients have and none prefers. */
const ciphers: readonly string[] = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  // With dhParameters alone.
  'DHE-RSA-AES128-GCM-SHA256',
  'DHE-RSA-AES256-GCM-SHA384',
  'DHE-RSA-CHACHA20-POLY1305',
];

/** OpenSSL's SSL_OP_NO_RENEGOTIATION: a client that shakes hands again and again costs the server more than itself (TLS 1.3 has none). */
const noRenegotiation = 2 ** 30;

/** What servers offer, as node:tls takes it. */
export const serverDefaults: { ciphers: string; secureOptions: number } = {
  ciphers: ciphers.join(':'),
  secureOptions: noRenegotiation,
};
