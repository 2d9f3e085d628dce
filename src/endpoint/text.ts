/**
 * The grammar of endpoint strings:
 *
 *     description = field *( ":" field )
 *     field       = text / name "=" text
 *
 * A backslash is dropped and takes the next character literally. The first unescaped "=" of a field
 * ends its name. Nothing is trimmed. One addition to Twisted's grammar: a value that is an IPv6
 * address in brackets needs no escapes (`tcp:[::1]:80`).
 */
import { isIPv6 } from 'node:net';
import { EndpointError, type Span } from './error.ts';

/**
 * Some text, and where each of its code points stands in the endpoint as the user typed it, so that
 * an error in an unescaped or nested part still shows the right place.
 */
export type Piece = {
  /** The whole endpoint that the piece comes from. */
  readonly whole: string;
  readonly chars: readonly string[];
  /** One offset in `whole` a code point, in code points, and one for the end. */
  readonly origins: readonly number[];
};

/** What stands between two unescaped colons. */
export type Field = {
  /** The part before the first unescaped "=", or null in a positional field. */
  readonly name: Piece | null;
  readonly value: Piece;
  /** Where the raw value begins and ends in the text that was split, escapes included. */
  readonly valueStart: number;
  readonly end: number;
};

/** The whole of a text. */
export function pieceOf(whole: string): Piece {
  const chars = Array.from(whole);
  return { whole, chars, origins: Array.from({ length: chars.length + 1 }, (_, index) => index) };
}

/** The characters, without the escapes that they were written with. */
export function textOf(piece: Piece): string {
  return piece.chars.join('');
}

/** Where a piece stands in the whole text, escapes included. */
export function spanOf({ origins }: Piece): Span {
  const start = origins[0] ?? 0;
  return { start, end: Math.max(start, origins.at(-1) ?? start) };
}

/** Characters `start` to `end` of a piece. */
export function sliceOf({ whole, chars, origins }: Piece, start: number, end = chars.length): Piece {
  return { whole, chars: chars.slice(start, end), origins: origins.slice(start, end + 1) };
}

/** An error that points at a piece. */
export function errorAt(piece: Piece, reason: string, hint?: string | undefined): EndpointError {
  return new EndpointError(reason, { text: piece.whole, place: spanOf(piece), hint });
}

/** A backslash before each character that means something in the grammar. */
export function escaped(text: string): string {
  return text.replace(/[\\:=]/g, '\\$&');
}

/** A host or address, escaped. Brackets are easier to read and to type in a shell than a backslash before each colon. */
export function printAddress(address: string): string {
  return isIPv6(address) ? `[${address}]` : escaped(address);
}

/** Split a description at its unescaped colons; there is always at least one field. Throws EndpointError. */
export function splitFields(source: Piece): [Field, ...Field[]] {
  const fields: Field[] = [];
  const { chars } = source;
  let name: Piece | null = null;
  let part = newPart(source, 0);
  let valueStart = 0;
  for (let index = 0; index < chars.length; index++) {
    const char = chars[index];
    if (char === ':') {
      fields.push({ name, value: part.finish(index), valueStart, end: index });
      name = null;
      part = newPart(source, index + 1);
      valueStart = index + 1;
    } else if (char === '=' && name === null) {
      name = part.finish(index);
      part = newPart(source, index + 1);
      valueStart = index + 1;
    } else if (char === '\\') {
      if (index + 1 === chars.length)
        throw errorAt(sliceOf(source, index), 'trailing backslash', 'write \\\\ for a backslash');
      part.take(index, ++index);
    } else if (char === '[' && index === valueStart) {
      const last = endOfBrackets(chars, index);
      for (; index < last; index++) part.take(index, index);
      part.take(last, last);
    } else {
      part.take(index, index);
    }
  }
  const last = { name, value: part.finish(chars.length), valueStart, end: chars.length };
  const [first, ...others] = fields;
  return first === undefined ? [last] : [first, ...others, last];
}

/** Index of the bracket that closes an IPv6 address which is the whole value; else `start` itself. */
function endOfBrackets(chars: readonly string[], start: number): number {
  const longest = 64;
  const end = chars.slice(start, start + longest).indexOf(']') + start;
  const isWhole = end + 1 >= chars.length || chars[end + 1] === ':';
  return end > start && isWhole && isIPv6(chars.slice(start + 1, end).join('')) ? end : start;
}

/** Collects the unescaped characters of one name or value. */
function newPart({ whole, chars, origins }: Piece, start: number) {
  const taken: string[] = [];
  const places: number[] = [];
  return {
    /** `from` is where it is written (a backslash, perhaps), `index` the character meant. */
    take(from: number, index: number): void {
      taken.push(chars[index] ?? '');
      places.push(origins[from] ?? 0);
    },
    finish(end: number): Piece {
      const last = origins[end] ?? 0;
      return { whole, chars: taken, origins: taken.length === 0 ? [origins[start] ?? 0, last] : [...places, last] };
    },
  };
}
