import { isIPv6 } from 'node:net';
import { EndpointError } from './error.ts';
import { escapedWays } from './sni.ts';
import { escaped, type Field, pieceOf, splitFields, textOf } from './text.ts';

/**
 * Read an endpoint; when that fails and would not have if some colons had been escaped, those of an
 * IPv6 address or of a nested endpoint, the error's hint shows the endpoint so written; `otherSide` is
 * asked for one that was written as it is on the other side of a rule.
 */
export function readWithHint<Endpoint>(
  text: string,
  read: (text: string) => Endpoint,
  otherSide: (text: string) => string | null,
): Endpoint {
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof EndpointError)) throw error;
    const hint = escapingHint(text, read) ?? hintFrom(otherSide(text), read);
    if (hint === null) throw error;
    throw new EndpointError(error.reason, { text, place: error.place, hint });
  }
}

/** An IPv6 address has at most 8 groups, and so ends within so many fields after the one it begins in. */
const maxColons = 8;
/** Fields and characters that are looked at; a longer text is not a slip with colons. */
const maxFields = 16;
const maxText = 500;

function escapingHint(text: string, read: (text: string) => unknown): string | null {
  if (text.length > maxText) return null;
  const chars = Array.from(text);
  let fields: [Field, ...Field[]];
  try {
    fields = splitFields(pieceOf(text));
  } catch {
    // A trailing backslash: the error itself says it all.
    return null;
  }
  const ways = escapedWays(chars, fields);
  if (ways !== null && canRead(ways, read)) return `escape the colons of an endpoint in another: '${ways}'`;
  const respell = ({ valueStart }: Field, { end }: Field, value: (raw: string) => string): string => {
    return (
      chars.slice(0, valueStart).join('') + value(chars.slice(valueStart, end).join('')) + chars.slice(end).join('')
    );
  };

  for (const [index, first] of fields.slice(0, maxFields).entries()) {
    const port = fields[index + 1];
    if (port !== undefined && first.name !== null && textOf(first.name) === 'server') {
      const spelled = respell(first, port, escaped);
      if (canRead(spelled, read)) return `escape the colon before a port: '${spelled}'`;
    }
    const isNested = first.name !== null && textOf(first.name) === 'endpoint';
    const lasts = fields.slice(index + 1, index + 1 + (isNested ? maxFields : maxColons)).reverse();
    for (const last of lasts) {
      const raw = chars.slice(first.valueStart, last.end).join('');
      if (!isNested && !isIPv6(raw)) continue;
      const spelled = respell(first, last, escaped);
      if (!canRead(spelled, read)) continue;
      if (isNested) return `escape the colons of an endpoint in another: '${spelled}'`;
      const bracketed = respell(first, last, (address) => `[${address}]`);
      return `escape the colons of an IPv6 address or put it in brackets: '${spelled}' or '${bracketed}'`;
    }
  }
  return null;
}

function hintFrom(spelled: string | null, read: (text: string) => unknown): string | null {
  return spelled !== null && canRead(spelled, read) ? `write '${spelled}'` : null;
}

function canRead(text: string, read: (text: string) => unknown): boolean {
  try {
    read(text);
    return true;
  } catch {
    // What it says is of no interest: the hint is about another spelling.
    return false;
  }
}
