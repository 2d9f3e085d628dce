/** What libssl needs to know for the handshakes of a listener. Made in the main thread, from files that it has read; the threads have its address. */
import type { Offer, TlsVersions } from '../../../endpoint/versions.ts';
import type { ServerIdentity } from '../../../endpoint/files.ts';
import { TICKET_LIFETIME_S } from '../../policy.ts';
import { pinText, readPem, useIdentity } from './identity.ts';
import type { Library } from './identity.ts';
import { stopAtHello } from './server-hello.ts';
import { TLS12, TLS13 } from './key-table.ts';
import {
  SSL_CTRL_SET_GROUPS_LIST,
  SSL_CTRL_SET_MAX_PROTO_VERSION,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  SSL_CTRL_SET_SESS_CACHE_MODE,
  SSL_OP_NO_COMPRESSION,
} from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';
import { SUITES } from './suites.ts';
import type { TrustStore } from './trust-stores.ts';

const SSL_VERIFY_PEER = 1n;
const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2n;
const SSL_OP_CIPHER_SERVER_PREFERENCE = 1n << 22n;

/** Session tickets behind a full handshake of TLS 1.3: each costs some 13 µs, and whoever resumes with one gets another. */
const TICKETS = 1n;

/** What the handshakes of a listener are to be like. */
export type ContextOptions = {
  /** One of each kind of key, of which libssl takes what a client can use. */
  identities: readonly Pick<ServerIdentity, 'key' | 'cert'>[];
  offer: Offer;
  versions: TlsVersions;
  /** See session-context.ts. */
  sessionContext: string;
  /** Whether libssl stops at a ClientHello, so that something is chosen by it: see server-hello.ts. */
  stopsAtHello: boolean;
  /** Clients are asked for a certificate; null: they are not. */
  clients: ClientCertificates | null;
  /** Of finite-field Diffie-Hellman, as PEM; null: it is not offered. */
  dhParameters: string | null;
};

/**
 * `trust`: who must have signed it, of whom clients are told as well, to choose by; the caller may close it. `areRequired`: a
 * client without one is refused, as one with a bad one always is.
 */
export type ClientCertificates = { trust: Pick<TrustStore, 'address' | 'certificates'>; areRequired: boolean };

/**
 * Make one. Who makes it frees it (`SSL_CTX_free`), when no client is on its way to a handshake with it any more.
 *
 * Secrets are had by the key log alone, and without a JavaScript function that libssl would call: one that throws, or
 * in whose middle a thread is ended, ends the process. In its place stands `SSL_add1_host`, a function of libssl that
 * takes the same arguments, and notes each line of the key log as a host name of the handshake's own verification parameters,
 * where secrets.ts finds it. So those names must mean nothing: handshake.ts locks the parameters.
 *
 * @returns its address
 * @throws Error when libssl does not take a key or a certificate, or a cipher suite is offered whose records are not ours
 */
export function openServerContext(
  { ssl, crypto }: Library,
  {
    identities,
    offer,
    versions: { minVersion, maxVersion },
    sessionContext,
    stopsAtHello,
    clients,
    dhParameters,
  }: ContextOptions,
): bigint {
  const context = ssl.SSL_CTX_new(ssl.TLS_server_method());
  try {
    const [lowest, highest] = [minVersion === 'TLSv1.3' ? TLS13 : TLS12, maxVersion === undefined ? TLS13 : TLS12];
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0n, 0n);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, BigInt(lowest), 0n);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, BigInt(highest), 0n);
    const options = BigInt(offer.secureOptions) | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE;
    ssl.SSL_CTX_set_options(context, options);
    ssl.SSL_CTX_set_timeout(context, BigInt(TICKET_LIFETIME_S));
    ssl.SSL_CTX_set_num_tickets(context, TICKETS);
    const ciphers = offer.ciphers.split(':');
    const isOf13 = (cipher: string) => cipher.startsWith('TLS_');
    const texts = [
      ciphers.filter(isOf13).join(':'),
      ciphers.filter((cipher) => !isOf13(cipher)).join(':'),
      sessionContext,
      offer.ecdhCurve ?? '',
    ].map((text) => pinText(crypto, text));
    const [modern, older, sessions, groups] = texts.map(({ address }) => address) as [bigint, bigint, bigint, bigint];
    const keyLog = ssl.dlsym(0n, crypto.text('SSL_add1_host'));
    const isSet =
      keyLog !== 0n &&
      ssl.SSL_CTX_set_ciphersuites(context, modern) === 1 &&
      ssl.SSL_CTX_set_cipher_list(context, older) === 1 &&
      (offer.ecdhCurve === undefined || ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0n, groups) === 1n) &&
      ssl.SSL_CTX_set_session_id_context(context, sessions, BigInt(sessionContext.length)) === 1;
    for (const { bytes } of texts) bytes.fill(0); // and so they were reachable until now
    if (!isSet) throw new Error('libssl does not take the settings of grace');
    if (!areOurs(ssl, context)) throw new Error('there are cipher suites whose records are not ours');
    ssl.SSL_CTX_set_keylog_callback(context, keyLog);
    if (dhParameters !== null) offerDh({ ssl, crypto }, context, dhParameters);
    if (clients !== null) askClients(ssl, context, clients);
    if (stopsAtHello) stopAtHello({ ssl, crypto }, context);
    for (const identity of identities) useIdentity({ ssl, crypto }, context, identity);
    return context;
  } catch (error) {
    ssl.SSL_CTX_free(context);
    ssl.ERR_clear_error();
    throw error;
  }
}

function offerDh({ ssl, crypto }: Library, context: bigint, text: string): void {
  readPem({ ssl, crypto }, text, (bio) => {
    const parameters = ssl.PEM_read_bio_Parameters(bio, 0n);
    if (parameters !== 0n && ssl.SSL_CTX_set0_tmp_dh_pkey(context, parameters) === 1) return; // and has them from now on
    ssl.EVP_PKEY_free(parameters);
    throw new Error('libssl does not take the DH parameters');
  });
}

function askClients(ssl: Ssl, context: bigint, { trust, areRequired }: ClientCertificates): void {
  ssl.SSL_CTX_set1_cert_store(context, trust.address);
  for (const authority of trust.certificates)
    if (ssl.SSL_CTX_add_client_CA(context, authority) !== 1)
      throw new Error('libssl does not take an authority of client certificates');
  ssl.SSL_CTX_set_verify(
    context,
    areRequired ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER,
    0n,
  );
}

/** Whether any suite that may be agreed on is one whose records are ours. */
function areOurs(ssl: Ssl, context: bigint): boolean {
  const ciphers = ssl.SSL_CTX_get_ciphers(context);
  for (let at = ssl.OPENSSL_sk_num(ciphers) - 1; at >= 0; at--) {
    if (!SUITES.has(Number(ssl.SSL_CIPHER_get_id(ssl.OPENSSL_sk_value(ciphers, BigInt(at))) & 0xffffn))) return false;
  }
  return true;
}
