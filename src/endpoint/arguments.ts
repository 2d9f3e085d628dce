import type { Description } from './description.ts';
import { type EndpointError, quoted } from './error.ts';
import { nearest } from '../nearest.ts';
import { errorAt, type Piece, spanOf, sliceOf, textOf } from './text.ts';

/** The parameters of one endpoint type. */
export type ArgumentNames<Name extends string> = {
  /** How the type is written, for hints: `tcp:PORT[:interface=ADDRESS]`. */
  usage: string;
  /** Parameters that positional arguments fill, in order; they may be given by name as well. */
  positional: readonly Name[];
  /** Parameters that can be given by name only. */
  keywords: readonly Name[];
  /** Other spellings of parameters. */
  aliases?: Readonly<Record<string, Name>>;
  /** What to say of names that belong to other types. */
  foreign?: Readonly<Record<string, string>>;
};

/** One argument: the parameter as the user named it, the unescaped value, and where it stands. */
export type Value = { readonly name: string; readonly text: string; readonly piece: Piece };

/** Turns the text of an argument into its value; throws the error of `refusal`. */
export type Reader<T> = (value: Value) => T;

/** The arguments of one endpoint by parameter. */
export type Arguments<Name extends string> = {
  has: (name: Name) => boolean;
  /** Throws EndpointError "missing argument" when it was not given. */
  read: <T>(name: Name, reader: Reader<T>) => T;
  readOr: <T, D>(name: Name, reader: Reader<T>, fallback: D) => T | D;
  /** The error that a given argument does not go with the rest. */
  conflict: (name: Name, reason: string, hint?: string) => EndpointError;
  /** The error that a needed argument is not there. */
  missing: (name: string, hint?: string) => EndpointError;
};

/** `port "90x0" is not a number`, shown at the value. */
export function refusal({ name, text, piece }: Value, problem: string, hint?: string): EndpointError {
  return errorAt(piece, `${name} ${quoted(text)} ${problem}`, hint);
}

/**
 * Give each field to a parameter. Unknown names, surplus positional arguments and parameters that
 * are given twice are errors, shown where they stand.
 */
export function matchArguments<Name extends string>(
  { fields, rest }: Description,
  { usage, positional, keywords, aliases = {}, foreign = {} }: ArgumentNames<Name>,
): Arguments<Name> {
  const values = new Map<Name, Value>();
  const known = [...positional, ...keywords];
  let position = 0;

  for (const { name, value } of fields) {
    const text = textOf(value);
    const parameter = name === null ? positional[position++] : parameterNamed(textOf(name));
    if (parameter === undefined) {
      if (name !== null) throw unknownArgument(name, text);
      throw errorAt(value, `too many arguments: ${quoted(text)} is one too many`, `it is ${usage}`);
    }
    if (values.has(parameter)) {
      throw errorAt(name ?? value, `duplicate argument: ${parameter} is given twice`);
    }
    values.set(parameter, { name: name === null ? parameter : textOf(name), text, piece: value });
  }

  return {
    has: (name) => values.has(name),
    read: (name, reader) => {
      const value = values.get(name);
      if (value === undefined) throw missing(name);
      return reader(value);
    },
    readOr: (name, reader, fallback) => {
      const value = values.get(name);
      return value === undefined ? fallback : reader(value);
    },
    conflict: (name, reason, hint) => {
      const value = values.get(name);
      return value === undefined ? missing(name) : errorAt(value.piece, reason, hint);
    },
    missing,
  };

  function parameterNamed(name: string): Name | undefined {
    return known.find((each) => each === name) ?? (Object.hasOwn(aliases, name) ? aliases[name] : undefined);
  }

  function missing(name: string, hint = `it is ${usage}`): EndpointError {
    return errorAt(sliceOf(rest, rest.chars.length), `missing argument: ${name}`, hint);
  }

  function unknownArgument(name: Piece, text: string): EndpointError {
    const typed = textOf(name);
    const similar = [...known, ...Object.keys(aliases)].find((each) => each.toLowerCase() === typed.toLowerCase());
    const reason = `unknown argument ${quoted(typed)}`;
    if (similar !== undefined) return errorAt(name, reason, `names are case-sensitive: ${similar}=${text}`);
    if (Object.hasOwn(foreign, typed)) return errorAt(name, reason, foreign[typed]);
    const guess = nearest(typed, known);
    if (guess !== undefined) {
      const { start, end } = spanOf(name);
      const chars = Array.from(name.whole);
      return errorAt(
        name,
        reason,
        `did you mean ${guess}? write '${chars.slice(0, start).join('')}${guess}${chars.slice(end).join('')}'`,
      );
    }
    // Nothing that is named like a path is a parameter: the "=" was meant as part of the value.
    if (/[^A-Za-z]/.test(typed)) return errorAt(name, reason, 'write \\= for an equals sign that belongs to a value');
    return errorAt(name, reason, `the arguments are ${known.join(', ')}`);
  }
}
