/** TLS versions as node:tls takes them. */
export type TlsVersions = { minVersion: 'TLSv1.2' | 'TLSv1.3'; maxVersion?: 'TLSv1.2' };

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

/** The versions to offer for an `sslmethod`: TLS 1.2 and later, or exactly 1.2. `minTLS` may raise the lowest. */
export function tlsVersions(sslmethod: string | null, minTLS?: '1.2' | '1.3'): TlsVersions {
  const versions = methods.get(sslmethod ?? 'TLS_METHOD') ?? negotiate;
  return minTLS === '1.3' ? { ...versions, minVersion: 'TLSv1.3' } : versions;
}

/** Forward secrecy and authenticated encryption; without CBC (Lucky 13), CCM and ARIA, which few clients have and none prefers. */
export const defaultCiphers: readonly string[] = [
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

/** What a server offers, as node:tls takes it. */
export type Offer = { ciphers: string; ecdhCurve?: string; secureOptions: number };

/**
 * What a server offers. The suites of TLS 1.2 and those of TLS 1.3 are two lists: one of which `ciphers` names
 * none stays as it is by default.
 */
export function serverOffer({
  ciphers = [],
  groups,
}: { ciphers?: readonly string[] | undefined; groups?: readonly string[] | undefined } = {}): Offer {
  const [modern, older] = [true, false].map((isModern) => {
    const given = ciphers.filter((name) => isTls13(name) === isModern);
    return given.length > 0 ? given : defaultCiphers.filter((name) => isTls13(name) === isModern);
  }) as [string[], string[]];
  // An expression such as HIGH may hold suites that leave out who the server is, or the encryption.
  const safe = ciphers.length === 0 ? [] : ['!aNULL', '!eNULL'];
  return {
    ciphers: [...modern, ...older, ...safe].join(':'),
    secureOptions: noRenegotiation,
    ...(groups === undefined ? {} : { ecdhCurve: groups.join(':') }),
  };
}

function isTls13(cipher: string): boolean {
  return cipher.startsWith('TLS_');
}
