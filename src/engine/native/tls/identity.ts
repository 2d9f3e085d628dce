/** Keys and certificates, and other texts, on their way from our memory to libssl's. */
import type { Identity } from '../../../endpoint/files.ts';
import type { Crypto, Pinned } from './library.ts';
import type { Ssl } from './ssl-library.ts';

const SSL_CTRL_CHAIN_CERT = 89n;

/** Both libraries, as the calling thread has them. */
export type Library = { ssl: Ssl; crypto: Crypto };

/** A text as C has it. It holds for as long as what is returned is reachable. */
export function pinText(crypto: Crypto, text: string): Pinned {
  const pinned = crypto.pin(text.length + 1);
  pinned.bytes.set(Buffer.from(text, 'latin1'));
  return pinned;
}

/** Have an SSL_CTX present a certificate with its chain. Throws Error when libssl does not take one, or they are not of one another. */
export function useIdentity({ ssl, crypto }: Library, context: bigint, { key, cert }: Identity): void {
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
      // The context has it from then on, for the certificate that it was given last.
      if (ssl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 0n, next) !== 1n)
        throw new Error('libssl does not take the chain of the certificate');
    }
    ssl.ERR_clear_error(); // that there are no more certificates
  });
  if (ssl.SSL_CTX_check_private_key(context) !== 1) throw new Error('the private key is not that of the certificate');
}

/**
 * Read the certificates of a text one by one, in their order.
 *
 * @param take is given the address of an X509, and has it from then on
 */
export function readCertificates(library: Library, text: string, take: (certificate: bigint) => void): void {
  const { ssl, crypto } = library;
  const noPassphrase = crypto.text('');
  readPem(library, text, (bio) => {
    const read = () => ssl.PEM_read_bio_X509(bio, 0n, 0n, noPassphrase);
    for (let next = read(); next !== 0n; next = read()) take(next);
    ssl.ERR_clear_error(); // that there are no more certificates
  });
}

/** Give a text to libssl to read from, and leave nothing of it in the memory that it was read from. */
export function readPem({ ssl, crypto }: Library, text: string, read: (bio: bigint) => void): void {
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
