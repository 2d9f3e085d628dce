import { StringDecoder } from 'node:string_decoder';
import type { Readable, Writable } from 'node:stream';

/** Longest line that is taken from a peer, in characters; a longer one ends the conversation. A rule that is used takes a thousand. */
const maxLine = 64 * 1024 * 1024;

/** Write one message as a line of JSON. */
export function writeLine(stream: Writable, message: unknown): void {
  stream.write(`${JSON.stringify(message)}\n`);
}

/**
 * Messages of a stream, one a line of JSON, in order, until it ends. A half line at the end is
 * dropped. Throws SyntaxError for a line that is not JSON and RangeError for one that is too long.
 */
export async function* readLines(stream: Readable): AsyncGenerator<unknown, void, void> {
  const decoder = new StringDecoder('utf8');
  const line = new LineParts();
  for await (const chunk of stream) {
    const text = decoder.write(chunk as Buffer);
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      yield JSON.parse(line.finish(text.slice(from, end)));
      from = end + 1;
    }
    line.add(text.slice(from));
    if (line.length > maxLine) throw new RangeError('a message is too long');
  }
}

/** The parts of a line as they come. They are joined once: a peer that sends a byte at a time must not make each cost as much as all before it. */
export class LineParts {
  #parts: string[] = [];
  /** In characters. */
  length = 0;

  add(part: string): void {
    if (part === '') return;
    this.#parts.push(part);
    this.length += part.length;
  }

  /** The whole line, of which this is the last part; the next one begins. */
  finish(last: string): string {
    const line = this.#parts.length === 0 ? last : this.#parts.join('') + last;
    this.#parts = [];
    this.length = 0;
    return line;
  }
}
