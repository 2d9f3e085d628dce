/** What libssl needs to know for handshakes with a destination. The mirror image of server-context.ts. */
import type { Identity } from '../../../endpoint/files.ts';
import { nodeTls } from '../../../endpoint/node-tls.ts';
import { pinText, useIdentity } from './identity.ts';
import type { Library } from './identity.ts';
import { TLS12 } from './key-table.ts';
import { SSL_CTRL_SET_MIN_PROTO_VERSION, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_OP_NO_COMPRESSION } from './ssl-library.ts';

const SSL_CTRL_MODE = 33n;
const SSL_MODE_RELEASE_BUFFERS = 0x10n;
const SSL_OP_NO_RENEGOTIATION = 1n << 30n;
const SSL_VERIFY_PEER = 1n;

/** What the handshakes with a destination are to be like. */
export type ClientContextOptions = {
  /** Address of an X509_STORE with the authorities that are trusted, which the caller may let go of; null: nobody asks who the server is. */
  trust: bigint | null;
  identity: Identity | null;
  /** Protocols that are offered, the preferred one first. */
  alpn: readonly string[];
};

/**
 * Make one. Who makes it frees it (`SSL_CTX_free`). It offers what the portable engine does, also suites whose records are
 * not ours: those stay with libssl.
 *
 * Its key log is that of server-context.ts, so host names mean nothing to libssl: it checks by whom a certificate is
 * signed, and handshake.ts for whom.
 *
 * @returns its address
 * @throws Error when libssl does not take a key, a certificate or a protocol
 */
export function openClientContext(library: Library, { trust, identity, alpn }: ClientContextOptions): bigint {
  const { ssl, crypto } = library;
  const context = ssl.SSL_CTX_new(ssl.TLS_client_method());
  try {
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0n, 0n);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, 0n);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, BigInt(TLS12), 0n);
    const mayRenegotiate = identity !== null;
    ssl.SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | (mayRenegotiate ? 0n : SSL_OP_NO_RENEGOTIATION));
    const ciphers = nodeTls().DEFAULT_CIPHERS.split(':');
    const isOf13 = (cipher: string) => cipher.startsWith('TLS_');
    const modern = pinText(crypto, ciphers.filter(isOf13).join(':'));
    const older = pinText(crypto, ciphers.filter((cipher) => !isOf13(cipher)).join(':'));
    const protocols = crypto.pin(alpn.reduce((size, name) => size + 1 + name.length, 0));
    protocols.bytes.set(alpn.flatMap((name) => [name.length, ...Buffer.from(name, 'latin1')]));
    const keyLog = ssl.dlsym(0n, crypto.text('SSL_add1_host'));
    const isSet =
      keyLog !== 0n &&
      ssl.SSL_CTX_set_ciphersuites(context, modern.address) === 1 &&
      ssl.SSL_CTX_set_cipher_list(context, older.address) === 1 &&
      (alpn.length === 0 ||
        ssl.SSL_CTX_set_alpn_protos(context, protocols.address, BigInt(protocols.bytes.length)) === 0);
    for (const { bytes } of [modern, older, protocols]) bytes.fill(0); // and so they were reachable until now
    if (!isSet) throw new Error('libssl does not take the settings of grace');
    ssl.SSL_CTX_set_keylog_callback(context, keyLog);
    if (trust !== null) {
      ssl.SSL_CTX_set1_cert_store(context, trust);
      ssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, 0n);
    }
    if (identity !== null) useIdentity(library, context, identity);
    return context;
  } catch (error) {
    ssl.SSL_CTX_free(context);
    ssl.ERR_clear_error();
    throw error;
  }
}
