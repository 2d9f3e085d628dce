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

export const tlsMethodNames: readonly string[] = [...methods.keys()];

/** The versions to offer for an `sslmethod`: TLS 1.2 and later, or exactly 1.2. */
export function tlsVersions(sslmethod: string | null): TlsVersions {
  return methods.get(sslmethod ?? 'TLS_METHOD') ?? negotiate;
}
