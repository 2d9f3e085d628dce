/**
 * The same as self-test.ts for handshakes with destinations, and whether those are refused that are to be: what verifies
 * certificates must not be led astray by the key log, which is where it would look for names.
 */
import { generateKeyPairSync } from 'node:crypto';
import { openFunctions } from '../../../sys/library.ts';
import { openClientContext } from './client-context.ts';
import { pinText, readPem } from './identity.ts';
import type { Library } from './identity.ts';
import { KeySchedule } from './key-schedule.ts';
import { KeyTable, TLS12, TLS13 } from './key-table.ts';
import { word } from './library.ts';
import { Records } from './records.ts';
import { Secrets } from './secrets.ts';
import { carry, converse, MAX_STEPS, openSide, ROW } from './self-test.ts';
import {
  BOTH_SHUT_DOWN,
  SSL_CTRL_SET_MAX_PROTO_VERSION,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  X509_VP_FLAG_LOCKED,
} from './ssl-library.ts';

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
  SSL_CTX_set_num_tickets: { args: w2, result: 'i32' },
} as const;

type Authority = { key: bigint; certificate: bigint };

/** Shake hands as a client. Returns what went wrong; null: nothing did. */
export function findClientFlaw(library: Library): string | null {
  const { ssl } = library;
  const authority = openAuthority(library);
  try {
    for (const version of [TLS13, TLS12]) {
      const flaw = tryVersion(library, authority, { version, isTrusted: true });
      if (flaw !== null) return flaw;
      if (tryVersion(library, authority, { version, isTrusted: false }) === null)
        return 'OpenSSL verifies a certificate that nobody trusts';
    }
    return null;
  } finally {
    ssl.X509_free(authority.certificate);
    ssl.EVP_PKEY_free(authority.key);
  }
}

/** A certificate that has signed itself. */
function openAuthority(library: Library): Authority {
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
  { key, certificate }: Authority,
  { version, isTrusted }: { version: number; isTrusted: boolean },
): string | null {
  const { ssl, crypto } = library;
  const keys = KeyTable.open(ROW + 1);
  const records = new Records(crypto, keys);
  const buffer = crypto.pin(65_536);
  const context = openClientContext(library, { authorities: [], identity: null, alpn: [] });
  if (isTrusted) ssl.X509_STORE_add_cert(ssl.SSL_CTX_get_cert_store(context), certificate);
  const serverContext = ssl.SSL_CTX_new(ssl.TLS_server_method());
  openFunctions(table).functions.SSL_CTX_set_num_tickets(serverContext, 0n);
  ssl.SSL_CTX_use_PrivateKey(serverContext, key);
  ssl.SSL_CTX_use_certificate(serverContext, certificate);
  for (const name of [SSL_CTRL_SET_MIN_PROTO_VERSION, SSL_CTRL_SET_MAX_PROTO_VERSION])
    ssl.SSL_CTX_ctrl(serverContext, name, BigInt(version), 0n);
  const client = openSide(ssl, context);
  const server = openSide(ssl, serverContext);
  ssl.SSL_set_connect_state(client.ssl);
  ssl.SSL_set_accept_state(server.ssl);
  ssl.X509_VERIFY_PARAM_set_inh_flags(ssl.SSL_get0_param(client.ssl), X509_VP_FLAG_LOCKED);
  const secrets = new Secrets({ ssl, crypto, keys, schedule: new KeySchedule(crypto, keys) });
  try {
    for (let step = 0; step < MAX_STEPS; step++) {
      const isClientDone = ssl.SSL_do_handshake(client.ssl) === 1;
      carry(ssl, client.out, server.in, buffer);
      const isServerDone = ssl.SSL_do_handshake(server.ssl) === 1;
      carry(ssl, server.out, client.in, buffer);
      if (!isClientDone || !isServerDone) continue;
      if (!isNamed(library, client.ssl, NAME) || isNamed(library, client.ssl, `other.${NAME}`))
        return 'OpenSSL does not tell whom a certificate is for';
      if (!secrets.take(client.ssl, ROW, { isServer: false, sealed: 0 })) return 'OpenSSL gives no keys of a handshake';
      const result = converse(ssl, { peer: server, records, buffer });
      return result === true ? null : result;
    }
    return 'a handshake as a client did not succeed';
  } finally {
    secrets.forget(client.ssl);
    for (const side of [client, server]) {
      ssl.SSL_set_shutdown(side.ssl, BOTH_SHUT_DOWN);
      ssl.SSL_free(side.ssl);
    }
    ssl.SSL_CTX_free(context);
    ssl.SSL_CTX_free(serverContext);
    ssl.ERR_clear_error();
    records.close();
    keys.close(ROW);
    buffer.bytes.fill(0);
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
