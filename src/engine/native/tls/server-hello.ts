/**
 * Where libssl stops in the handshake of a server: it has read a ClientHello, and nothing is answered yet. What is chosen by it is
 * chosen then, by us: the certificate, and the protocol of ALPN.
 *
 * libssl has functions of the application called for both. One in JavaScript that fails, or in whose middle a thread is ended,
 * ends the process; so there is none. It is stopped by SSL_CTX_set_client_hello_cb(3), with a function of its own in the place of
 * ours: `SSL_get_rfd` returns -1 where bytes are kept in memory, and -1 means that the answer will come later
 * (SSL_CLIENT_HELLO_RETRY). Then SSL_do_handshake returns, and goes on when it is called again, with the function taken away.
 */
import type { Crypto, Pinned } from './library.ts';
import { word } from './library.ts';
import type { Ssl } from './ssl-library.ts';

const SSL_ERROR_WANT_CLIENT_HELLO_CB = 11;
/** More than an SSL object has. */
const PROBE_SIZE = 32_768;
/** What the words of the probe are numbered from: no address that there is. */
const MARK = 0x5a5a_0000_0000_0000n;
/** Longest name of a protocol (RFC 7301, section 3.1). */
const MAX_PROTOCOL = 255;

type Library = { ssl: Ssl; crypto: Crypto };

/** Have handshakes of an SSL_CTX stop at each ClientHello. */
export function stopAtHello(library: Library, context: bigint): void {
  library.ssl.SSL_CTX_set_client_hello_cb(context, findStop(library), 0n);
}

function findStop({ ssl, crypto }: Library): bigint {
  const stop = ssl.dlsym(0n, crypto.text('SSL_get_rfd'));
  if (stop === 0n) throw new Error('libssl has no SSL_get_rfd');
  return stop;
}

/** Goes on where handshakes of one thread have stopped. */
export class ServerHello {
  readonly #library: Library;
  readonly #selected: Pinned;
  readonly #view: DataView;
  readonly #protocol: Pinned;
  readonly #fieldAt: number | null;
  #stop: bigint | null = null;

  constructor(library: Library) {
    const { crypto } = library;
    this.#library = library;
    this.#selected = crypto.pin(16);
    this.#view = new DataView(this.#selected.bytes.buffer);
    this.#protocol = crypto.pin(MAX_PROTOCOL);
    this.#fieldAt = this.#findField();
  }

  /** Go on with a handshake, which may stop. Returns as SSL_do_handshake does. */
  begin(handshake: bigint): number {
    return this.#library.ssl.SSL_do_handshake(handshake);
  }

  /** Whether a handshake stands there, after SSL_do_handshake has returned this. */
  isAt(handshake: bigint, result: number): boolean {
    const { ssl } = this.#library;
    return (
      result !== 1 &&
      ssl.SSL_get_error(handshake, BigInt.asUintN(64, BigInt(result))) === SSL_ERROR_WANT_CLIENT_HELLO_CB
    );
  }

  /** Have another SSL_CTX's certificate presented. What a session is resumed by stays that of the one that it began with. */
  present(handshake: bigint, context: bigint): boolean {
    return this.#library.ssl.SSL_set_SSL_CTX(handshake, context) === context;
  }

  /**
   * Have a protocol agreed on. A server's libssl has no function for it but the one that it calls; it is noted where
   * SSL_get0_alpn_selected(3) reads it, and from where libssl sends it and frees it. Returns whether that has worked.
   */
  agreeOn(handshake: bigint, protocol: string): boolean {
    const { ssl } = this.#library;
    const at = this.#fieldAt;
    // What had been agreed on has been forgotten with the ClientHello; if not, this is not what it is taken for.
    if (at === null || protocol.length > MAX_PROTOCOL || this.#agreed(handshake).address !== 0n) return false;
    this.#protocol.bytes.set(Buffer.from(protocol, 'latin1'));
    const copy = ssl.CRYPTO_memdup(this.#protocol.address, word(protocol.length), 0n, 0n);
    if (copy === 0n) return false;
    this.#view.setBigUint64(0, copy, true);
    this.#view.setBigUint64(8, BigInt(protocol.length), true);
    ssl.memcpy(handshake + word(at), this.#selected.address, 16n);
    const { address, length } = this.#agreed(handshake);
    return address === copy && length === protocol.length;
  }

  /** Go on with one that has stopped, of this SSL_CTX. Returns as SSL_do_handshake does. */
  proceed(handshake: bigint, context: bigint): number {
    const { ssl } = this.#library;
    ssl.SSL_CTX_set_client_hello_cb(context, 0n, 0n);
    const result = ssl.SSL_do_handshake(handshake);
    ssl.SSL_CTX_set_client_hello_cb(context, (this.#stop ??= findStop(this.#library)), 0n);
    return result;
  }

  #agreed(handshake: bigint): { address: bigint; length: number } {
    this.#library.ssl.SSL_get0_alpn_selected(handshake, this.#selected.address, this.#selected.address + 8n);
    return { address: this.#view.getBigUint64(0, true), length: this.#view.getUint32(8, true) };
  }

  /**
   * Where in an SSL object SSL_get0_alpn_selected finds an address, and a length behind it: it is shown memory in which
   * each word says where it is. Null: it finds no such thing.
   */
  #findField(): number | null {
    const { bytes, address } = this.#library.crypto.pin(PROBE_SIZE);
    const words = new BigUint64Array(bytes.buffer);
    // The first says what kind of object it is: one of a TCP connection.
    for (let index = 1; index < words.length; index++) words[index] = MARK + BigInt(index);
    const found = this.#agreed(address);
    const index = Number(found.address - MARK);
    if (!(index > 0 && index < words.length - 1)) return null;
    return found.length === Number((MARK + BigInt(index + 1)) & 0xffff_ffffn) ? 8 * index : null;
  }
}
