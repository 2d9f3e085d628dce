/** Keys of records, derived from the secrets of a handshake straight into the key table (RFC 8446, section 7; RFC 5246, section 6.3). */
import { IN, IV, KEY, OUT, SECRET } from './key-table.ts';
import type { Direction, KeyTable } from './key-table.ts';
import { word } from './library.ts';
import type { Crypto, Pinned } from './library.ts';

const HASHES = { SHA256: 32, SHA384: 48 } as const;
type Hash = keyof typeof HASHES;
const LABELS = ['key', 'iv', 'traffic upd'] as const;
type Label = (typeof LABELS)[number];

/** Longest input of an HMAC: A(i), "key expansion" and both randoms. */
const MAX_INPUT = 160;
const RANDOM_SIZE = 32;
/** Bytes of a master secret of TLS 1.2 (RFC 5246, section 8.1). */
export const MASTER_SECRET_SIZE = 48;
const IV_SIZE = 12;
const SALT_SIZE = 4;
const OSSL_PARAM_UTF8_STRING = 4;

/** Derives keys, in the memory of one thread, which holds none of them afterwards. */
export class KeySchedule {
  readonly #crypto: Crypto;
  readonly #keys: KeyTable;
  readonly #macs: Record<Hash, bigint>;
  readonly #labels: Record<Label, Uint8Array>;
  readonly #key: Pinned;
  readonly #input: Pinned;
  readonly #output: Pinned;
  readonly #outputSize: Pinned;
  readonly #zeros: Pinned;

  constructor(crypto: Crypto, keys: KeyTable) {
    this.#crypto = crypto;
    this.#keys = keys;
    this.#key = crypto.pin(MASTER_SECRET_SIZE);
    this.#input = crypto.pin(MAX_INPUT);
    this.#output = crypto.pin(64);
    this.#outputSize = crypto.pin(8);
    this.#zeros = crypto.pin(MASTER_SECRET_SIZE);
    const mac = crypto.functions.EVP_MAC_fetch(0n, crypto.text('HMAC'), 0n);
    this.#macs = { SHA256: this.#openMac(mac, 'SHA256'), SHA384: this.#openMac(mac, 'SHA384') };
    this.#labels = { key: expandLabel('key'), iv: expandLabel('iv'), 'traffic upd': expandLabel('traffic upd') };
  }

  #openMac(mac: bigint, hash: Hash): bigint {
    const { functions, text, pin } = this.#crypto;
    // OSSL_PARAM: key, type, data, size, size that is returned; then one of nothing.
    const parameters = pin(80);
    const wide = new BigUint64Array(parameters.bytes.buffer);
    wide.set([text('digest'), BigInt(OSSL_PARAM_UTF8_STRING), text(hash), BigInt(hash.length), 0n]);
    const context = functions.EVP_MAC_CTX_new(mac);
    if (functions.EVP_MAC_init(context, this.#zeros.address, word(HASHES[hash]), parameters.address) !== 1)
      throw new Error(`libcrypto has no HMAC with ${hash}`);
    return context;
  }

  /** HMAC of the beginning of `#input` with the beginning of `#key`, to `#output`. */
  #hmac(hash: Hash, { keySize, size }: { keySize: number; size: number }): void {
    const { functions } = this.#crypto;
    const mac = this.#macs[hash];
    const isDone =
      functions.EVP_MAC_init(mac, this.#key.address, word(keySize), 0n) === 1 &&
      functions.EVP_MAC_update(mac, this.#input.address, word(size)) === 1 &&
      functions.EVP_MAC_final(mac, this.#output.address, this.#outputSize.address, word(64)) === 1;
    if (!isDone) throw new Error('a key could not be derived');
  }

  /** Nothing of what was derived is left in this memory, nor in the context of the hash that it was derived with. */
  #wipe(hash: Hash): void {
    const { functions } = this.#crypto;
    for (const { bytes } of [this.#key, this.#input, this.#output]) bytes.fill(0);
    functions.EVP_MAC_init(this.#macs[hash], this.#zeros.address, word(HASHES[hash]), 0n);
  }

  /** HKDF-Expand-Label of the secret of a direction, to `#output`: one round is enough for all that TLS 1.3 wants. */
  #expand(fd: number, direction: Direction, label: Label, size: number): Uint8Array {
    const { hash, hashSize } = this.#keys.suite(fd);
    const info = this.#labels[label];
    this.#key.bytes.set(this.#keys.part(fd, direction, SECRET, hashSize));
    this.#input.bytes.set(info);
    this.#input.bytes[1] = size;
    this.#hmac(hash, { keySize: hashSize, size: info.length });
    return this.#output.bytes.subarray(0, size);
  }

  /** TLS 1.3: the keys of directions, from the traffic secrets in their row. */
  derive13(fd: number, ...directions: readonly Direction[]): void {
    const { keySize, hash } = this.#keys.suite(fd);
    for (const direction of directions) {
      this.#keys.part(fd, direction, KEY, keySize).set(this.#expand(fd, direction, 'key', keySize));
      this.#keys.part(fd, direction, IV, IV_SIZE).set(this.#expand(fd, direction, 'iv', IV_SIZE));
    }
    this.#wipe(hash);
  }

  /** TLS 1.3: the next traffic secret of a direction, and its key (RFC 8446, section 7.2). */
  update13(fd: number, direction: Direction): void {
    const { hashSize } = this.#keys.suite(fd);
    this.#keys.part(fd, direction, SECRET, hashSize).set(this.#expand(fd, direction, 'traffic upd', hashSize));
    this.derive13(fd, direction);
  }

  /** TLS 1.2: the keys of both directions, from what both sides know of the handshake. The caller wipes what it passes. */
  derive12(
    fd: number,
    handshake: { isServer: boolean; masterSecret: Uint8Array; clientRandom: Uint8Array; serverRandom: Uint8Array },
  ): void {
    const { hash, hashSize, keySize, isExplicit } = this.#keys.suite(fd);
    const ivSize = isExplicit ? SALT_SIZE : IV_SIZE;
    const block = new Uint8Array(2 * keySize + 2 * ivSize + hashSize);
    const seed = new Uint8Array(13 + 2 * RANDOM_SIZE);
    seed.set(Buffer.from('key expansion'));
    seed.set(handshake.serverRandom, 13);
    seed.set(handshake.clientRandom, 13 + RANDOM_SIZE);
    this.#key.bytes.set(handshake.masterSecret);
    const chained = new Uint8Array(hashSize);
    const chain = (input: Uint8Array) => {
      this.#input.bytes.set(input);
      this.#hmac(hash, { keySize: MASTER_SECRET_SIZE, size: input.length });
      chained.set(this.#output.bytes.subarray(0, hashSize));
    };
    chain(seed);
    for (let at = 0; at < block.length - hashSize; at += hashSize) {
      this.#input.bytes.set(chained);
      this.#input.bytes.set(seed, hashSize);
      this.#hmac(hash, { keySize: MASTER_SECRET_SIZE, size: hashSize + seed.length });
      block.set(this.#output.bytes.subarray(0, hashSize), at);
      chain(chained);
    }
    const [ofClient, ofServer] = handshake.isServer ? ([IN, OUT] as const) : ([OUT, IN] as const);
    const take = (direction: Direction, part: number, at: number, size: number) =>
      this.#keys.part(fd, direction, part, size).set(block.subarray(at, at + size));
    take(ofClient, KEY, 0, keySize);
    take(ofServer, KEY, keySize, keySize);
    take(ofClient, IV, 2 * keySize, ivSize);
    take(ofServer, IV, 2 * keySize + ivSize, ivSize);
    block.fill(0);
    chained.fill(0);
    this.#wipe(hash);
  }

  /** The thread ends. */
  close(): void {
    for (const mac of Object.values(this.#macs)) this.#crypto.functions.EVP_MAC_CTX_free(mac);
  }
}

/** HkdfLabel with no context, the 1 that HKDF-Expand puts behind it, and room for the size before. */
function expandLabel(label: Label): Uint8Array {
  const text = Buffer.from(`tls13 ${label}`);
  return Uint8Array.from([0, 0, text.length, ...text, 0, 1]);
}
