/** Where one record ends and the next begins, in a peer's bytes as they come (RFC 8446, section 5.1; RFC 5246, section 6.2). */
import { APPLICATION_DATA, CHANGE_CIPHER_SPEC, HEADER_SIZE, MAX_EXPANSION_12, MAX_PLAIN } from './records.ts';

const MAX_RECORD = HEADER_SIZE + MAX_PLAIN + MAX_EXPANSION_12;

/** Follows the records of one handshake. */
export class RecordSplitter {
  /** Of the record that the last bytes belong to, as far as it has come. */
  readonly #header = [0, 0, 0, 0, 0];
  #headerSize = 0;
  #size = 0;
  /** It is not TLS, or none that is cut into records: whatever comes belongs together. */
  isOther = false;

  /** Follow the bytes from there on as far as the end of the record that they are in. Returns how many they are. */
  follow(bytes: Uint8Array, from: number, end: number): number {
    const had = this.#size;
    for (let at = from; this.#headerSize < HEADER_SIZE && at < end; at++) this.#header[this.#headerSize++] = bytes[at]!;
    if (!this.#mayBeRecord() || this.#wholeSize() > MAX_RECORD) this.isOther = true;
    const count = this.isOther ? end - from : Math.min(end - from, this.#wholeSize() - had);
    this.#size += count;
    return count;
  }

  /** Whether the record is whole that the last bytes belong to. */
  get isWhole(): boolean {
    return this.#headerSize === HEADER_SIZE && this.#size === this.#wholeSize();
  }

  /** The next bytes begin another one. */
  startNext(): void {
    this.#headerSize = this.#size = 0;
  }

  /** By as much of the header as there is. */
  #mayBeRecord(): boolean {
    const type = this.#header[0]!;
    const isOfType = type >= CHANGE_CIPHER_SPEC && type <= APPLICATION_DATA;
    return (this.#headerSize < 1 || isOfType) && (this.#headerSize < 2 || this.#header[1] === 3);
  }

  /** Of the record whose header is there; else of its header. */
  #wholeSize(): number {
    return this.#headerSize < HEADER_SIZE ? HEADER_SIZE : HEADER_SIZE + ((this.#header[3]! << 8) | this.#header[4]!);
  }
}
