/**
 * The same as self-test.ts for handshakes with destinations, and whether those are refused that are to be: what verifies
 * certificates must not be led astray by the key log, which is where it would look for names.
 */
import { generateKeyPairSync } from 'node:crypto';
import { openFunctions } from '../../../sys/library.ts';
import { openClientContext } from './client-context.ts';
import { pinText, readPem } from './identity.ts';
import type { Library } from './identity.ts';
import { TLS12, TLS13 } from './key-table.ts';
import { word } from './library.ts';
import { allowOnly, rehearse } from './rehearsal.ts';

const NAME = 'self-test.invalid';
const MBSTRING_ASC = 0x1001n;
const HOUR_S = 3600n;

const w1 = ['word'] as const;
const w2 = ['word', 'word'] as const;
const table = {
  X509_new: { args: [], result: 'u64' },
  X509_gmtime_adj: { args: w2, result: 'u64' },
  X509_getm_notBefore: { args: w1, result: 'u64' },
  X509_getm_notAfter: { args: w1, result: 'u64' },
  X509_set_pubkey: { args: w2, result: 'i32' },
  X509_get_subject_name: { args: w1, result: 'u64' },
  X509_set_issuer_name: { args: w2, result: 'i32' },
  X509_NAME_add_entry_by_txt: { args: ['word', 'word', 'word', 'word', 'word', 'word', 'word'], result: 'i32' },
  X509_sign: { args: ['word', 'word', 'word'], result: 'i32' },
  EVP_sha256: { args: [], result: 'u64' },
} as const;

type Authority = { key: bigint; certificate: bigint };

/** Shake hands as a client. Returns what went wrong; null: nothing did. */
export function findClientFlaw(library: Library): string | null {
  const { ssl } = library;
  const authority = openAuthority(library);
  const attempt = (options: { version: number; isTrusted: boolean }) => tryVersion(library, { ...options, authority });
  try {
    for (const version of [TLS13, TLS12]) {
      const flaw = attempt({ version, isTrusted: true });
      if (flaw !== null) return flaw;
      if (attempt({ version, isTrusted: false }) === null) return 'OpenSSL verifies a certificate that nobody trusts';
    }
    return null;
  } finally {
    ssl.X509_free(authority.certificate);
    ssl.EVP_PKEY_free(authority.key);
  }
}

/** A certificate that has signed itself, good for an hour. Who opens it frees both parts. */
export function openAuthority(library: Library): Authority {
  const { ssl, crypto } = library;
  const { functions } = openFunctions(table);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  let key = 0n;
  readPem(library, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, (bio) => {
    key = ssl.PEM_read_bio_PrivateKey(bio, 0n, 0n, crypto.text(''));
  });
  const certificate = functions.X509_new();
  functions.X509_gmtime_adj(functions.X509_getm_notBefore(certificate), BigInt.asUintN(64, -HOUR_S));
  functions.X509_gmtime_adj(functions.X509_getm_notAfter(certificate), HOUR_S);
  functions.X509_set_pubkey(certificate, key);
  const subject = functions.X509_get_subject_name(certificate);
  const length = BigInt(NAME.length);
  functions.X509_NAME_add_entry_by_txt(
    subject,
    crypto.text('CN'),
    MBSTRING_ASC,
    crypto.text(NAME),
    length,
    BigInt.asUintN(64, -1n),
    0n,
  );
  functions.X509_set_issuer_name(certificate, subject);
  functions.X509_sign(certificate, key, functions.EVP_sha256());
  return { key, certificate };
}

/** Null: it works; else what went wrong. */
function tryVersion(
  library: Library,
  {
    version,
    isTrusted,
    authority: { key, certificate },
  }: { version: number; isTrusted: boolean; authority: Authority },
): string | null {
  const { ssl } = library;
  const trust = ssl.X509_STORE_new();
  if (isTrusted) ssl.X509_STORE_add_cert(trust, certificate);
  const client = openClientContext(library, { trust, identity: null, alpn: [] });
  const server = ssl.SSL_CTX_new(ssl.TLS_server_method());
  ssl.SSL_CTX_set_num_tickets(server, 0n);
  ssl.SSL_CTX_use_PrivateKey(server, key);
  ssl.SSL_CTX_use_certificate(server, certificate);
  allowOnly(ssl, server, version);
  try {
    const verdict = rehearse(
      library,
      { client, server, own: 'client' },
      ({ pair, isClientDone, isServerDone, talk }) => {
        if (!isClientDone || !isServerDone) return undefined;
        const { ssl: side } = pair.client;
        if (!isNamed(library, side, NAME) || isNamed(library, side, `other.${NAME}`))
          return 'OpenSSL does not tell whom a certificate is for';
        return talk(0);
      },
    );
    return verdict === true ? null : (verdict ?? 'a handshake as a client did not succeed');
  } finally {
    ssl.SSL_CTX_free(client);
    ssl.X509_STORE_free(trust);
    ssl.SSL_CTX_free(server);
  }
}

function isNamed({ ssl, crypto }: Library, side: bigint, name: string): boolean {
  const certificate = ssl.SSL_get1_peer_certificate(side);
  const text = pinText(crypto, name);
  const result = ssl.X509_check_host(certificate, text.address, word(name.length), 0n, 0n);
  text.bytes.fill(0);
  ssl.X509_free(certificate);
  return result === 1;
}
