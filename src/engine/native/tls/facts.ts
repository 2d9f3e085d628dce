/** What is to be known of a client once its handshake is over, from libssl into the row of its leg: what was agreed on, and who it has shown itself to be. */
import type { KeyTable } from './key-table.ts';
import { MAX_TEXT } from './key-table.ts';
import type { Crypto, Pinned } from './library.ts';
import { word } from './library.ts';
import type { Ssl } from './ssl-library.ts';

/** `NID_commonName` of obj_mac.h. */
const COMMON_NAME = 13n;
/** Parts of a name that are looked at: more have none. */
const MAX_PARTS = 16;

/** Reads them in one thread. */
export class Facts {
  readonly #ssl: Ssl;
  readonly #keys: KeyTable;
  readonly #text: Pinned;
  readonly #answer: Pinned;
  readonly #view: DataView;

  constructor({ ssl, crypto, keys }: { ssl: Ssl; crypto: Crypto; keys: KeyTable }) {
    this.#ssl = ssl;
    this.#keys = keys;
    this.#text = crypto.pin(MAX_TEXT);
    this.#answer = crypto.pin(16);
    this.#view = new DataView(this.#answer.bytes.buffer);
  }

  /** Fill them in. Returns false when there is no room for the name of a client whose certificate was verified. */
  take(handshake: bigint, fd: number): boolean {
    const ssl = this.#ssl;
    const certificate = ssl.SSL_get1_peer_certificate(handshake);
    const isVerified = certificate !== 0n && ssl.SSL_get_verify_result(handshake) === 0n;
    const client = isVerified ? this.#commonName(certificate) : null;
    ssl.X509_free(certificate);
    this.#keys.setTexts(fd, { name: this.#serverName(handshake), protocol: this.#protocol(handshake), client });
    this.#takeShown(handshake, fd);
    return client === null || client.length <= MAX_TEXT;
  }

  #serverName(handshake: bigint): Uint8Array {
    const name = this.#ssl.SSL_get_servername(handshake, 0n);
    return name === 0n ? new Uint8Array(0) : this.#copy(name, Number(this.#ssl.strlen(name)));
  }

  #protocol(handshake: bigint): Uint8Array {
    this.#ssl.SSL_get0_alpn_selected(handshake, this.#answer.address, this.#answer.address + 8n);
    const [at, length] = [this.#view.getBigUint64(0, true), this.#view.getUint32(8, true)];
    return at === 0n ? new Uint8Array(0) : this.#copy(at, length);
  }

  /** The common names of the subject, as UTF-8, with a comma between them. */
  #commonName(certificate: bigint): Uint8Array {
    const ssl = this.#ssl;
    const subject = ssl.X509_get_subject_name(certificate);
    const names: Uint8Array[] = [];
    for (let at = -1; names.length < MAX_PARTS;) {
      at = ssl.X509_NAME_get_index_by_NID(subject, COMMON_NAME, BigInt.asUintN(64, BigInt(at)));
      if (at < 0) break;
      const part = ssl.X509_NAME_ENTRY_get_data(ssl.X509_NAME_get_entry(subject, BigInt(at)));
      const length = ssl.ASN1_STRING_to_UTF8(this.#answer.address, part);
      if (length < 0) continue;
      const text = this.#view.getBigUint64(0, true);
      names.push(this.#copy(text, length));
      ssl.CRYPTO_free(text, 0n, 0n);
    }
    const joined = names.flatMap((name, index) => (index === 0 ? [...name] : [...Buffer.from(', '), ...name]));
    return Uint8Array.from(joined);
  }

  /** Of the certificate that it was shown: how it is signed, and what its key is. */
  #takeShown(handshake: bigint, fd: number): void {
    const ssl = this.#ssl;
    const isResumed = ssl.SSL_session_reused(handshake) === 1;
    const certificate = ssl.SSL_get_certificate(handshake);
    if (certificate === 0n) return this.#keys.setShown(fd, { signature: 0, keyType: 0, bits: 0, isResumed });
    const key = ssl.X509_get0_pubkey(certificate);
    this.#keys.setShown(fd, {
      signature: ssl.X509_get_signature_nid(certificate),
      keyType: ssl.EVP_PKEY_get_base_id(key),
      bits: ssl.EVP_PKEY_get_bits(key),
      isResumed,
    });
  }

  /** Bytes of libssl's; of what is too long for a row, one more than it has room for. */
  #copy(address: bigint, length: number): Uint8Array {
    if (length > MAX_TEXT) return new Uint8Array(MAX_TEXT + 1);
    this.#ssl.memcpy(this.#text.address, address, word(length));
    return this.#text.bytes.slice(0, length);
  }
}
