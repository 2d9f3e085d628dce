import { GraceError } from '../error.ts';
import { bounded, visible } from '../one-line.ts';

/** Where in an endpoint's text something stands, in code points from 0; `end` is the first one after it. */
export type Span = { readonly start: number; readonly end: number };

/** Where in an endpoint something is wrong, and what to do. */
export type EndpointErrorOptions = {
  /** The whole endpoint, as the user typed it. */
  text: string;
  /** What the error is about; null when it is no single part of the text. */
  place?: Span | null;
  hint?: string | undefined;
  cause?: unknown;
};

/**
 * An endpoint string that cannot be read, or whose files or inherited sockets cannot be used.
 * The message is one line: what was attempted, the endpoint, the reason, and where in the text.
 */
export class EndpointError extends GraceError {
  /** The whole endpoint, as the user typed it. */
  readonly text: string;
  readonly place: Span | null;
  /** The reason alone: `port "90x0" is not a number (use 0-65535)`. */
  readonly reason: string;

  constructor(reason: string, { text, place = null, hint, cause }: EndpointErrorOptions) {
    const isWithin = place !== null && place.start < Array.from(text).length;
    const where = isWithin ? `, at character ${place.start + 1}` : '';
    const verb = place === null ? 'use' : 'read';
    super(`cannot ${verb} endpoint ${quoted(text)}: ${reason}${where}`, { hint, code: 'ERR_GRACE_ENDPOINT', cause });
    this.name = 'EndpointError';
    this.text = text;
    this.place = place;
    this.reason = reason;
  }
}

/** Longest text that is quoted whole, in UTF-16 units: what is said of it is to be seen as well. */
const maxQuoted = 400;

/** Text in double quotes as it was given, except that control characters are shown by their number, and of a long one the middle is left out. */
export function quoted(text: string): string {
  return `"${visible(bounded(text, maxQuoted))}"`;
}
