import { StringDecoder } from 'node:string_decoder';
import type { Readable, Writable } from 'node:stream';

/** Longest line that is taken from a peer, in characters; a longer one ends the conversation. */
const maxLine = 4 * 1024 * 1024;

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
  let rest = '';
  for await (const chunk of stream) {
    rest += decoder.write(chunk as Buffer);
    let end = rest.indexOf('\n');
    while (end >= 0) {
      yield JSON.parse(rest.slice(0, end));
      rest = rest.slice(end + 1);
      end = rest.indexOf('\n');
    }
    if (rest.length > maxLine) throw new RangeError('a message is too long');
  }
}
