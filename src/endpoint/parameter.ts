/**
 * Parameters of endpoints as rows of tables. A type of endpoint is a {@link Shape}: a table of its parameters
 * and what there is to say of the type. Reading, printing, explaining, help and the resolving of paths are
 * made from that, and equality counts every parameter (identity.ts); what is odd about a type is code beside its shape.
 */
import { matchArguments, type Arguments, type Reader } from './arguments.ts';
import type { Description } from './description.ts';
import { quoted } from './error.ts';
import { escaped, printAddress } from './text.ts';

/** An endpoint, or as much of it as has been read, by the names of its parameters. */
export type Fields = Readonly<Record<string, unknown>>;

/** All that is known of a parameter but its name, which is its key in the table. */
export type Parameter<T, D = never> = {
  /** Its value; undefined when the text says what is so anyway, as if it had not been given. */
  read: Reader<T | undefined>;
  /** Whether it must be given, has a value without being given, or is no property then. */
  presence: 'required' | 'defaulted' | 'optional';
  /** With `defaulted`: what it is when it is not given, told from those that stand before it. */
  fallback(fields: Fields): D;
  /** What the value means, for people. */
  meaning: Meaning<T | D>;
  /** What stands for the value in help, `NUMBER`, and what is to be said of it there. Without it help does not name it. */
  placeholder?: string;
  note?: string;
  /** A path, relative to the working directory of whoever wrote it. */
  isPath?: true;
  /** The same of what follows these characters, where the value begins with them. */
  pathAfter?: string;
  /** A list in which `@FILE` names a file, relative as a path is. */
  hasFiles?: true;
  /** A host or an address of one: an IPv6 address is written in brackets. */
  isAddress?: true;
  /** Explained also when it is no property. */
  isTold?: true;
  /** The value as text; by default what `String` makes of it. */
  write?(value: T): string;
  /** Never there: carries the type of the value. */
  valueType?: () => T | D;
};

/** Words for a value; a function is given the endpoint that it is a part of. */
export type Meaning<T> = string | Words<T>;
type Words<T> = { words(value: T, endpoint: Fields): string }['words'];

type Row<T, D> = Omit<Parameter<T, D>, 'presence' | 'fallback'>;
type AnyParameter = Parameter<unknown, unknown>;

/** Parameters by name, in the order in which they are read, printed and explained. */
export type Parameters = Readonly<Record<string, unknown>>;

/** A parameter that must be given. */
export function required<T>(row: Row<T, never>): Parameter<T> & { presence: 'required' } {
  return { ...row, presence: 'required', fallback: () => undefined as never };
}

/** A parameter that has a value also when it is not given: `null` for "none". */
export function defaulted<T, D>(
  fallback: D | ((fields: Fields) => D),
  row: Row<T, D>,
): Parameter<T, D> & { presence: 'defaulted' } {
  return {
    ...row,
    presence: 'defaulted',
    fallback: typeof fallback === 'function' ? (fallback as (fields: Fields) => D) : () => fallback,
  };
}

/** A parameter that is a property only when it is given. */
export function optional<T>(row: Row<T, never>): Parameter<T> & { presence: 'optional' } {
  return { ...row, presence: 'optional', fallback: () => undefined as never };
}

type Of<P> = P extends { valueType?: () => infer V } ? V : never;
type Optional<T> = { [N in keyof T]: T[N] extends { presence: 'optional' } ? N : never }[keyof T];

/** The properties that a table stands for. */
export type ValuesOf<T> = { [N in Exclude<keyof T, Optional<T>>]: Of<T[N]> } & { [N in Optional<T>]?: Of<T[N]> };

/** A type of endpoint. */
export type Shape<T> = {
  type: string;
  /** What it is, for people. */
  meaning: Meaning<string>;
  /** How it is written, for hints: `tcp:PORT[:interface=ADDRESS]`. */
  usage: string;
  parameters: T;
  /** Those that positional arguments fill, in order; they may be given by name as well. */
  positional: readonly (keyof T & string)[];
  /** How many of these are printed by position. */
  printed: number;
  /** Names of arguments that are no parameters of their own: another way to write one. */
  keywords?: readonly string[];
  aliases?: Readonly<Record<string, keyof T & string>>;
  /** What to say of names that belong to other types. */
  foreign?: Readonly<Record<string, string>>;
};

/** Checks that a shape names only parameters of its own table. */
export function shapeOf<T>(shape: Shape<T>): Shape<T> {
  return shape;
}

/** A shape whatever its table is. */
export type AnyShape = Shape<Parameters>;

/** Give the fields of a description to the parameters of a shape. Throws EndpointError. */
export function argumentsOf<T>(
  { usage, parameters, positional, keywords = [], aliases = {}, foreign = {} }: Shape<T>,
  description: Description,
): Arguments<string> {
  const named = Object.keys(parameters as object).filter((name) => !(positional as readonly string[]).includes(name));
  return matchArguments<string>(description, {
    usage,
    positional,
    keywords: [...named, ...keywords],
    aliases: aliases as Record<string, string>,
    foreign,
  });
}

/** Every parameter of a shape, read or as it is by default. `known` are those that were read otherwise. Throws EndpointError. */
export function readParameters<T>({ parameters }: Shape<T>, args: Arguments<string>, known: Fields = {}): ValuesOf<T> {
  const values: Record<string, unknown> = { ...known };
  for (const [name, parameter] of rowsOf(parameters)) {
    if (name in known) continue;
    const given = parameter.presence === 'required' || args.has(name) ? args.read(name, parameter.read) : undefined;
    const value = given === undefined && parameter.presence === 'defaulted' ? parameter.fallback(values) : given;
    if (value !== undefined) values[name] = value;
  }
  return values as ValuesOf<T>;
}

/** `type:…`: the first ones by position, the others by name and only where they differ from what they are anyway. */
export function printParameters({ type, parameters, positional, printed }: AnyShape, endpoint: Fields): string {
  const fields = [type];
  const byPosition = positional.slice(0, printed);
  const rows = new Map(rowsOf(parameters));
  const order = [...byPosition, ...[...rows.keys()].filter((name) => !byPosition.includes(name))];
  for (const name of order) {
    const parameter = rows.get(name)!;
    const value = endpoint[name];
    if (
      value === undefined ||
      value === null ||
      (parameter.presence === 'defaulted' && value === parameter.fallback(endpoint))
    )
      continue;
    const isAbstract = parameter.isPath && `${value}`.startsWith('\0');
    // No command line can hold the NUL that such a name starts with.
    if (isAbstract) fields.push(`abstract=${escaped(`${value}`.slice(1))}`);
    else fields.push(`${byPosition.includes(name) ? '' : `${name}=`}${written(parameter, value)}`);
  }
  return fields.join(':');
}

/** A value in an endpoint string. */
function written({ write, isAddress }: AnyParameter, value: unknown): string {
  const text = write?.(value) ?? `${value}`;
  return isAddress ? printAddress(text) : escaped(text);
}

/** One parameter in plain words. */
export type Explanation = { name: string; value: string; meaning: string };

/** The type, and every parameter that the endpoint has, in plain words. */
export function explainParameters({ type, meaning, parameters }: AnyShape, endpoint: Fields): Explanation[] {
  const rows = rowsOf(parameters).filter(
    ([name, { presence, isTold }]) => presence !== 'optional' || isTold || endpoint[name] !== undefined,
  );
  return [
    { name: 'type', value: type, meaning: wordsFor(meaning, type, endpoint) },
    ...rows.map(([name, parameter]) => {
      const value = endpoint[name];
      return { name, value: shown(parameter, value), meaning: wordsFor(parameter.meaning, value, endpoint) };
    }),
  ];
}

function wordsFor<T>(meaning: Meaning<T>, value: T, endpoint: Fields): string {
  return typeof meaning === 'string' ? meaning : meaning(value, endpoint);
}

/** A value as a person would write it; `-` for what is not given. */
function shown({ write, isPath }: AnyParameter, value: unknown): string {
  if (value === null || value === undefined) return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (isPath && `${value}`.startsWith('\0')) return quoted(`${value}`);
  return value === '' ? '""' : (write?.(value) ?? `${value}`);
}

/** Names of the parameters that are paths, with what stands before the path in them. */
export function pathNames({ parameters }: AnyShape): [name: string, before: string][] {
  return rowsOf(parameters).flatMap(([name, { isPath, pathAfter = isPath ? '' : undefined }]) =>
    pathAfter === undefined ? [] : [[name, pathAfter] satisfies [string, string]],
  );
}

/** Names of the parameters that are lists in which `@FILE` names a file. */
export function fileListNames({ parameters }: AnyShape): string[] {
  return rowsOf(parameters).flatMap(([name, { hasFiles }]) => (hasFiles ? [name] : []));
}

/** `interface=ADDRESS (every IPv4 address), …`: parameters as help lists them, without those that are in `without`. */
export function helpOf(parameters: Parameters, without: Parameters = {}): string {
  return rowsOf(parameters)
    .filter(([name, { placeholder }]) => placeholder !== undefined && !(name in without))
    .map(([name, { placeholder, note }]) => `${name}=${placeholder}${note === undefined ? '' : ` (${note})`}`)
    .join(', ');
}

function rowsOf(parameters: unknown): [name: string, parameter: AnyParameter][] {
  return Object.entries(parameters as Record<string, AnyParameter>);
}
