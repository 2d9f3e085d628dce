/**
 * Options of `grace daemon` that hold for a whole daemon: its keeper and every successor get them too. An option
 * is one row: help, completions, the manual page, the check of its value and the passing on are made from it.
 */
import { resolve } from 'node:path';
import { absoluteAdmin, absoluteToken, readAdmin } from './admin.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';
import { findGroup } from '../sys/group.ts';
import { findUser } from '../sys/user.ts';
import type { User } from '../sys/user.ts';

/** What there is to say of an option, and what its text means. */
export type DaemonOption<T> = {
  /** What its value is called in help. */
  value: string;
  /** The only words its value can be. */
  choices?: readonly string[];
  help: string;
  /** What holds without it. */
  fallback: T;
  /** `grace start` has it too, for the daemon that it brings up. */
  isForStart?: true;
  /** The text as a process with another working directory reads it. Throws as `read`. */
  absolute?(text: string, cwd: string): string;
  /** Throws GraceError (ERR_GRACE_USAGE). */
  read(text: string, name: string): T;
};

/** More threads than this help nobody. */
const maxThreads = 64;
/** More than the descriptors that a process can have. */
const maxConnections = 1_000_000;

/** By their long names. */
export const daemonOptions = {
  engine: choice(['auto', 'native', 'portable'], {
    value: 'NAME',
    fallback: 'auto',
    help: 'what moves the bytes: auto, native or portable (default: auto)',
  }),
  threads: count(maxThreads, {
    value: 'N',
    help: 'threads of the native engine (default: half of the cores, 8 at most)',
    fallback: null,
  }),
  /** Most connections open at once, over all rules and processes. */
  maxconn: count(maxConnections, {
    value: 'N',
    help: 'connections at once over all rules; further clients wait (default: as many as descriptors allow)',
    fallback: null,
    isForStart: true,
  }),
  'log-format': choice(['text', 'json'], {
    value: 'FORMAT',
    fallback: 'text',
    help: 'lines of the log: text or json (default: text)',
  }),
  'access-log': option<string | null>({
    value: 'FILE',
    help: 'write a line there for each connection that has ended; - is standard output (default: nowhere)',
    fallback: null,
    isForStart: true,
    absolute: (text, cwd) => (text === '' || text === '-' ? text : resolve(cwd, text)),
    read(text, name) {
      if (text === '') throw usageError(`--${name} takes a file, or - for standard output`);
      // A daemon that Deno starts has no standard output of its keeper's.
      if (text === '-' && 'Deno' in globalThis) throw usageError(`--${name} takes a file on Deno`);
      return text;
    },
  }),
  'access-log-format': choice(['text', 'json'], {
    value: 'FORMAT',
    fallback: 'text',
    isForStart: true,
    help: 'lines of the access log: text or json (default: text)',
  }),
  /** Number of the group whose members may command the daemon. */
  'socket-group': option<number | null>({
    value: 'GROUP',
    help: 'let the members of this group command the daemon (default: its own user and root alone)',
    fallback: null,
    read(text, name) {
      const group = findGroup(text);
      if (group !== null) return group;
      throw usageError(
        `--${name}: there is no group ${quoted(text)}`,
        `make it with: groupadd --system ${/^[a-z_][a-z0-9_-]*$/.test(text) ? text : 'NAME'}`,
      );
    },
  }),
  /** Whose rights the daemon has, once root's have opened its low ports. */
  user: option<User | null>({
    value: 'USER',
    help: 'started as root: open the ports that only root may, and go on as this user (default: who starts it)',
    fallback: null,
    // A number is known at 3 a.m. too, when the server that knows the names may not be there.
    absolute: (text) => String(findUser(text)?.uid ?? text),
    read(text, name) {
      const user = findUser(text);
      if (user !== null) return user;
      throw usageError(`--${name}: there is no user ${quoted(text)}`, 'make it with: useradd --system NAME');
    },
  }),
  group: option<number | null>({
    value: 'GROUP',
    help: 'with --user: the group to go on as (default: that of the user)',
    fallback: null,
    absolute: (text) => String(findGroup(text) ?? text),
    read(text, name) {
      const group = findGroup(text);
      if (group !== null) return group;
      throw usageError(`--${name}: there is no group ${quoted(text)}`, 'make it with: groupadd --system NAME');
    },
  }),
  admin: option<string | null>({
    value: 'ENDPOINT',
    help: 'answer over HTTP there: /metrics, /healthz, /readyz, /api/ls, /api/status and a page (default: nowhere)',
    fallback: null,
    isForStart: true,
    absolute: absoluteAdmin,
    read(text) {
      readAdmin(text);
      return text;
    },
  }),
  'admin-token': option<string | null>({
    value: 'FILE',
    help: 'whoever asks there must send the token in FILE',
    fallback: null,
    isForStart: true,
    absolute: absoluteToken,
    read: (text) => text,
  }),
};

/** Those that `grace start` has too, for the daemon that it brings up. */
export const startOptions: readonly string[] = Object.entries<DaemonOption<unknown>>(daemonOptions).flatMap(
  ([name, { isForStart }]) => (isForStart ? [name] : []),
);

type Options = typeof daemonOptions;

/** What a daemon was told, or what holds without a word. */
export type DaemonSettings = { readonly [N in keyof Options]: ReturnType<Options[N]['read']> };

/** Tells the text of an option; undefined for one that was not given. */
export type GivenOptions = (name: string) => string | undefined;

/** The options that were given, with the paths in them made absolute. Asked for one of these, it throws GraceError (ERR_GRACE_USAGE). */
export function absoluteOptions(given: GivenOptions, cwd: string): GivenOptions {
  return (name) => {
    const text = given(name);
    const { absolute } = (daemonOptions as Record<string, DaemonOption<unknown>>)[name] ?? {};
    return text === undefined || !absolute ? text : absolute(text, cwd);
  };
}

/** Read the options that were given. Throws GraceError (ERR_GRACE_USAGE). */
export function readSettings(given: GivenOptions): DaemonSettings {
  const settings = Object.entries(daemonOptions).map(([name, { fallback, read }]) => {
    const text = given(name);
    return [name, text === undefined ? fallback : read(text, name)];
  });
  return Object.fromEntries(settings) as DaemonSettings;
}

/** The options that were given, as words for the command line of a keeper's daemon or a successor. */
export function wordsOfOptions(given: GivenOptions): string[] {
  return Object.keys(daemonOptions).flatMap((name) => {
    const text = given(name);
    return text === undefined ? [] : [`--${name}`, text];
  });
}

/** What {@link wordsOfOptions} made words of, by name. */
export function optionsOfWords(words: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (let at = 0; at + 1 < words.length; at += 2) values[words[at]!.replace(/^--/, '')] = words[at + 1]!;
  return values;
}

function option<T>(row: DaemonOption<T>): DaemonOption<T> {
  return row;
}

function choice<const T extends string>(
  choices: readonly T[],
  row: Omit<DaemonOption<T>, 'choices' | 'read'>,
): DaemonOption<T> {
  return {
    ...row,
    choices,
    read(text, name) {
      const found = choices.find((each) => each === text);
      if (found !== undefined) return found;
      throw usageError(`--${name} takes ${choices.join(', ').replace(/, ([^,]+)$/, ' or $1')}, not ${quoted(text)}`);
    },
  };
}

function count(max: number, row: Omit<DaemonOption<number | null>, 'read'>): DaemonOption<number | null> {
  return {
    ...row,
    read(text, name) {
      const number = Number(text);
      if (/^[0-9]+$/.test(text) && number >= 1 && number <= max) return number;
      throw usageError(`--${name} takes a number from 1 to ${max}, not ${quoted(text)}`);
    },
  };
}

function usageError(message: string, hint?: string): GraceError {
  return new GraceError(message, { hint, code: 'ERR_GRACE_USAGE' });
}
