import { type EndpointError, quoted } from './error.ts';
import { errorAt, type Field, type Piece, sliceOf, splitFields, textOf } from './text.ts';

/** An endpoint string taken apart, before its type gives its fields a meaning. */
export type Description = {
  /** As it was written; `kind` is the same in lower case. */
  readonly type: Piece;
  readonly kind: string;
  readonly fields: readonly Field[];
  /** Everything after the colon that ends the type, not taken apart. */
  readonly rest: Piece;
};

/** Take an endpoint apart. Throws EndpointError when it has no type, or ends in a lone backslash. */
export function readDescription(source: Piece): Description {
  const [first, ...fields] = splitFields(source);
  if (first.name !== null) throw errorAt(first.name, 'missing type', 'the type comes first, as in tcp:port=9000');
  return {
    type: first.value,
    kind: textOf(first.value).toLowerCase(),
    fields,
    rest: sliceOf(source, Math.min(first.end + 1, source.chars.length)),
  };
}

/** The error for a word before the first colon that is no type. */
export function unknownType({ type }: Description, hint: string): EndpointError {
  return errorAt(type, `unknown type ${quoted(textOf(type))}`, hint);
}
