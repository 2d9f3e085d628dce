/** Lines that wait to be written, as bytes: encoded many at a time, into memory that is used again. */

/** So many characters are encoded at once: one call for each line costs more, and a longer text is copied twice. */
const pieceLength = 16 * 1024;
const initialSize = 64 * 1024;
/** A larger block, which only a burst needs, is not kept for the next lines. */
const maxKeptSize = 512 * 1024;
/** The most that UTF-8 needs for a character of a string. */
const maxBytesPerCharacter = 3;

/** Lines in the order in which they were added. */
export class LineBuffer {
  #block: Buffer = Buffer.allocUnsafeSlow(initialSize);
  #spare: Buffer | null = null;
  #length = 0;
  #text = '';
  #lines = 0;

  get lines(): number {
    return this.#lines;
  }

  /** What waits: bytes, and characters that are not encoded yet. */
  get size(): number {
    return this.#length + this.#text.length;
  }

  /** Add a line, with its end. */
  add(line: string): void {
    this.#text += line;
    this.#lines++;
    if (this.#text.length >= pieceLength) this.#encode();
  }

  /** All bytes, which stay here; good until the next call. */
  peek(): Uint8Array {
    this.#encode();
    return this.#block.subarray(0, this.#length);
  }

  /** Take whole lines out that were peeked at, from the first one on. */
  drop(bytes: number, lines: number): void {
    this.#block.copyWithin(0, bytes, this.#length);
    this.#length -= bytes;
    this.#lines -= lines;
  }

  /** Everything, which is the caller's until it is given back. */
  take(): { bytes: Buffer; lines: number } {
    this.#encode();
    const taken = { bytes: this.#block.subarray(0, this.#length), lines: this.#lines };
    this.#block = this.#spare ?? Buffer.allocUnsafeSlow(initialSize);
    this.#spare = null;
    [this.#length, this.#lines] = [0, 0];
    return taken;
  }

  /** What was taken is not looked at any more. */
  giveBack({ buffer }: Buffer): void {
    if (buffer.byteLength <= maxKeptSize) this.#spare = Buffer.from(buffer);
  }

  #encode(): void {
    const text = this.#text;
    this.#text = '';
    const size = this.#length + text.length * maxBytesPerCharacter;
    if (size > this.#block.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.#block.length));
      this.#block.copy(larger, 0, 0, this.#length);
      this.#block = larger;
    }
    this.#length += this.#block.write(text, this.#length);
  }
}
