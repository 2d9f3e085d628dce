/** What libssl needs to know for the handshakes of a listener. Made in the main thread, from files that it has read; the threads have its address. */
import { serverDefaults, tlsVersions } from '../../../endpoint/versions.ts';
import type { ServerIdentity } from '../../../endpoint/files.ts';
import type { Crypto } from './library.ts';
import { TLS12, TLS13 } from './key-table.ts';
import type { Ssl } from './ssl-library.ts';

const SSL_CTRL_EXTRA_CHAIN_CERT = 14n;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44n;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123n;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124n;
const SSL_OP_NO_COMPRESSION = 1n << 17n;
const SSL_OP_CIPHER_SERVER_PREFERENCE = 1n << 22n;

/**
 * Make one. Who makes it frees it (`SSL_CTX_free`), when no client is on its way to a handshake with it any more.
 *
 * Secrets are had by the key log alone, and without a JavaScript function that libssl would call: one that throws, or
 * in whose middle a thread is ended, ends the process. In its place stands `SSL_add1_host`, a function of libssl that
 * takes the same arguments, and notes each line of the key log as a host name of the handshake's own verification parameters,
 * where secrets.ts finds it. So those names must mean nothing: handshake.ts locks the parameters.
 *
 * @returns its address
 * @throws Error when libssl does not take a key or a certificate
 */
export function openServerContext(
  { ssl, crypto }: { ssl: Ssl; crypto: Crypto },
  { identity, sslmethod }: { identity: Pick<ServerIdentity, 'key' | 'cert'>; sslmethod: string | null },
): bigint {
  const context = ssl.SSL_CTX_new(ssl.TLS_server_method());
  try {
    const { maxVersion } = tlsVersions(sslmethod);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0n, 0n);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, BigInt(TLS12), 0n);
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, BigInt(maxVersion === undefined ? TLS13 : TLS12), 0n);
    const options = BigInt(serverDefaults.secureOptions) | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE;
    ssl.SSL_CTX_set_options(context, options);
    const ciphers = serverDefaults.ciphers.split(':');
    const isOf13 = (cipher: string) => cipher.startsWith('TLS_');
    const list = (chosen: string[]) => crypto.text(chosen.join(':'));
    const sessions = crypto.text('grace');
    const keyLog = ssl.dlsym(0n, crypto.text('SSL_add1_host'));
    const isSet =
      keyLog !== 0n &&
      ssl.SSL_CTX_set_ciphersuites(context, list(ciphers.filter(isOf13))) === 1 &&
      ssl.SSL_CTX_set_cipher_list(context, list(ciphers.filter((cipher) => !isOf13(cipher)))) === 1 &&
      ssl.SSL_CTX_set_session_id_context(context, sessions, 5n) === 1;
    if (!isSet) throw new Error('libssl does not take the settings of grace');
    ssl.SSL_CTX_set_keylog_callback(context, keyLog);
    useIdentity({ ssl, crypto }, context, identity);
    return context;
  } catch (error) {
    ssl.SSL_CTX_free(context);
    ssl.ERR_clear_error();
    throw error;
  }
}

function useIdentity(
  { ssl, crypto }: { ssl: Ssl; crypto: Crypto },
  context: bigint,
  { key, cert }: Pick<ServerIdentity, 'key' | 'cert'>,
): void {
  // A passphrase, so that none is asked for: these keys have none.
  const noPassphrase = crypto.text('');
  readPem({ ssl, crypto }, key, (bio) => {
    const privateKey = ssl.PEM_read_bio_PrivateKey(bio, 0n, 0n, noPassphrase);
    const isUsed = privateKey !== 0n && ssl.SSL_CTX_use_PrivateKey(context, privateKey) === 1;
    ssl.EVP_PKEY_free(privateKey);
    if (!isUsed) throw new Error('libssl does not take the private key');
  });
  readPem({ ssl, crypto }, cert, (bio) => {
    const read = () => ssl.PEM_read_bio_X509(bio, 0n, 0n, noPassphrase);
    const leaf = read();
    const isUsed = leaf !== 0n && ssl.SSL_CTX_use_certificate(context, leaf) === 1;
    ssl.X509_free(leaf);
    if (!isUsed) throw new Error('libssl does not take the certificate');
    for (let next = read(); next !== 0n; next = read()) {
      // The context has it from then on.
      if (ssl.SSL_CTX_ctrl(context, SSL_CTRL_EXTRA_CHAIN_CERT, 0n, next) !== 1n)
        throw new Error('libssl does not take the chain of the certificate');
    }
    ssl.ERR_clear_error(); // that there are no more certificates
  });
  if (ssl.SSL_CTX_check_private_key(context) !== 1) throw new Error('the private key is not that of the certificate');
}

/** Give a text to libssl to read from, and leave nothing of it in the memory that it was read from. */
function readPem({ ssl, crypto }: { ssl: Ssl; crypto: Crypto }, text: string, read: (bio: bigint) => void): void {
  const bytes = Buffer.from(text);
  const pinned = crypto.pin(bytes.length);
  pinned.bytes.set(bytes);
  bytes.fill(0);
  const bio = ssl.BIO_new_mem_buf(pinned.address, BigInt(pinned.bytes.length));
  try {
    read(bio);
  } finally {
    ssl.BIO_free(bio);
    pinned.bytes.fill(0);
  }
}
