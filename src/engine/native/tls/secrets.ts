/** The secrets of a handshake that is over, from libssl into the key table. They are in no JavaScript string, which could not be zeroed. */
import { Facts } from './facts.ts';
import { agreedGroup } from './key-shares.ts';
import { IN, OUT, SECRET, TLS12, TLS13 } from './key-table.ts';
import type { KeyTable } from './key-table.ts';
import type { KeySchedule } from './key-schedule.ts';
import type { Crypto, Pinned } from './library.ts';
import { word } from './library.ts';
import type { Ssl } from './ssl-library.ts';
import { SUITES } from './suites.ts';

/** `CLIENT_TRAFFIC_SECRET_0`, a space, the client's random in hexadecimal, a space, the secret in hexadecimal. */
const LABEL_SIZE = 23;
const SECRET_AT = LABEL_SIZE + 1 + 64 + 1;
const CLIENT_LABEL = Uint8Array.from(Buffer.from('CLIENT_TRAFFIC_SECRET_0'));
const SERVER_LABEL = Uint8Array.from(Buffer.from('SERVER_TRAFFIC_SECRET_0'));
/** Bytes of an SSL, and more. */
const STATE_SIZE = 16_384;
/** Lines of the key log of one handshake, and more. */
const MAX_LINES = 16;

/** Takes secrets in one thread. */
export class Secrets {
  readonly #ssl: Ssl;
  readonly #keys: KeyTable;
  readonly #schedule: KeySchedule;
  readonly #line: Pinned;
  readonly #random: Pinned;
  readonly #inside: Pinned;
  readonly #facts: Facts;

  constructor({ ssl, crypto, keys, schedule }: { ssl: Ssl; crypto: Crypto; keys: KeyTable; schedule: KeySchedule }) {
    this.#ssl = ssl;
    this.#keys = keys;
    this.#schedule = schedule;
    this.#line = crypto.pin(SECRET_AT + 2 * 48);
    this.#random = crypto.pin(64);
    this.#inside = crypto.pin(STATE_SIZE);
    this.#facts = new Facts({ ssl, crypto, keys });
  }

  /**
   * Fill the row of a descriptor in. `forget` is still to be called.
   *
   * @param sealed records that libssl has sealed with the key that is ours from now on
   * @returns whether there are keys, of a suite whose records are ours
   */
  take(handshake: bigint, fd: number, { isServer, sealed }: { isServer: boolean; sealed: number }): boolean {
    const ssl = this.#ssl;
    const version = ssl.SSL_version(handshake);
    const suite = Number(ssl.SSL_CIPHER_get_id(ssl.SSL_get_current_cipher(handshake)) & 0xffffn);
    if (!SUITES.has(suite) || (version !== TLS12 && version !== TLS13)) return false;
    this.#keys.open(fd, { suite, version });
    this.#keys.setGroup(fd, agreedGroup(ssl, handshake));
    this.#keys.setMaxPlain(fd, agreedFragment(ssl, handshake));
    if (version === TLS13) {
      if (!this.#takeTrafficSecrets(handshake, fd, isServer)) return false;
      this.#schedule.derive13(fd, IN, OUT);
      this.#keys.setSequence(fd, IN, 0);
      this.#keys.setSequence(fd, OUT, sealed);
    } else {
      this.#deriveFromMaster(handshake, fd, isServer);
      // Each side has sealed its Finished.
      this.#keys.setSequence(fd, IN, 1);
      this.#keys.setSequence(fd, OUT, 1);
    }
    return !isServer || this.#facts.take(handshake, fd);
  }

  #takeTrafficSecrets(handshake: bigint, fd: number, isServer: boolean): boolean {
    const ssl = this.#ssl;
    const { bytes, address } = this.#line;
    const { hashSize } = this.#keys.suite(fd);
    let found = 0;
    const parameters = ssl.SSL_get0_param(handshake);
    for (let index = 0; index < MAX_LINES && found < 2; index++) {
      const line = ssl.X509_VERIFY_PARAM_get0_host(parameters, word(index));
      if (line === 0n) break;
      ssl.memcpy(address, line, word(LABEL_SIZE));
      const isClients = beginsWith(bytes, CLIENT_LABEL);
      if (!isClients && !beginsWith(bytes, SERVER_LABEL)) continue;
      if (ssl.strlen(line) !== word(SECRET_AT + 2 * hashSize)) continue;
      ssl.memcpy(address, line, word(SECRET_AT + 2 * hashSize));
      const secret = this.#keys.part(fd, isClients === isServer ? IN : OUT, SECRET, hashSize);
      for (let at = 0; at < hashSize; at++)
        secret[at] = (digit(bytes[SECRET_AT + 2 * at]!) << 4) | digit(bytes[SECRET_AT + 2 * at + 1]!);
      bytes.fill(0);
      found++;
    }
    return found === 2;
  }

  #deriveFromMaster(handshake: bigint, fd: number, isServer: boolean): void {
    const ssl = this.#ssl;
    const { bytes, address } = this.#line;
    ssl.SSL_SESSION_get_master_key(ssl.SSL_get_session(handshake), address, 48n);
    ssl.SSL_get_client_random(handshake, this.#random.address, 32n);
    ssl.SSL_get_server_random(handshake, this.#random.address + 32n, 32n);
    this.#schedule.derive12(fd, {
      isServer,
      masterSecret: bytes.subarray(0, 48),
      clientRandom: this.#random.bytes.subarray(0, 32),
      serverRandom: this.#random.bytes.subarray(32),
    });
    bytes.fill(0);
  }

  /**
   * Zero the traffic secrets that were taken in libssl's own memory of a handshake, which frees it as it is: where it has them is found
   * by what they are. It needs them for key updates alone, and those are ours.
   */
  zeroInside(handshake: bigint, fd: number): void {
    const ssl = this.#ssl;
    const { bytes, address } = this.#inside;
    const size = Math.min(Number(ssl.malloc_usable_size(handshake)), bytes.length);
    ssl.memcpy(address, handshake, word(size));
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, size);
    const { hashSize } = this.#keys.suite(fd);
    for (const direction of [IN, OUT] as const) {
      const secret = this.#keys.part(fd, direction, SECRET, hashSize);
      for (let at = text.indexOf(secret); at !== -1; at = text.indexOf(secret, at + 1))
        ssl.OPENSSL_cleanse(handshake + word(at), word(hashSize));
    }
    bytes.fill(0);
  }

  /** Nothing of the key log is left with a handshake, which is about to be freed. */
  forget(handshake: bigint): void {
    const ssl = this.#ssl;
    const parameters = ssl.SSL_get0_param(handshake);
    for (let index = 0; index < MAX_LINES; index++) {
      const line = ssl.X509_VERIFY_PARAM_get0_host(parameters, word(index));
      if (line === 0n) return;
      ssl.OPENSSL_cleanse(line, ssl.strlen(line));
    }
  }
}

function beginsWith(bytes: Uint8Array, label: Uint8Array): boolean {
  for (let at = 0; at < label.length; at++) if (bytes[at] !== label[at]) return false;
  return true;
}

function digit(code: number): number {
  return code < 58 ? code - 48 : code - 87;
}

/** Most plain bytes of a record that the peer takes (max_fragment_length, RFC 6066, section 4); 0: as many as TLS allows. */
function agreedFragment(ssl: Ssl, handshake: bigint): number {
  const code = ssl.SSL_SESSION_get_max_fragment_length(ssl.SSL_get_session(handshake)) & 0xff;
  return code === 0 ? 0 : 256 << code;
}
