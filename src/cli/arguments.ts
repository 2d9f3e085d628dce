/**
 * From argv to a line that cac reads without guessing.
 *
 * cac's parser (mri) turns what looks like a number into one (`--dir 0123` becomes 123), takes the
 * word after a switch for its value, takes no value that begins with a dash, and reads the next word
 * for `--dir=`. Endpoints, paths and durations must stay as they were typed. So the words are told
 * apart here, by the table of commands, and handed to cac in one unambiguous form.
 */
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';
import { nearest } from '../nearest.ts';
import { commands, findCommand, globalOptions } from '../control/commands.ts';
import type { CommandDefinition } from '../control/commands.ts';
import type { OptionDefinition } from '../control/commands/definition.ts';
import { usageOf } from './help.ts';

/** A command line, taken apart and checked against the table of commands. */
export type Line = {
  /** Null when no command was given. */
  command: CommandDefinition | null;
  args: readonly string[];
  /** By long name; a switch is `true`. Of a repeated option the last one counts. */
  options: ReadonlyMap<string, string | true>;
  /** How many of `args` stand before the first `--`; null: there is none. */
  beforeDashes: number | null;
};

/** Stands before each value on its way through cac, so that no value looks like a number, a switch, or nothing. */
const mark = '=';

/** Tell the words of a command line apart. Throws GraceError (exit code 2) for what no command knows. */
export function readLine(argv: readonly string[]): Line {
  const words: string[] = [];
  let dashesAt: number | null = null;
  const options = new Map<string, string | true>();
  const queue = [...argv];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === '--') {
      dashesAt = words.length;
      words.push(...queue.splice(0));
    } else if (word.startsWith('--')) {
      readLongOption(word, queue, options);
    } else if (word.startsWith('-') && word !== '-') {
      readShortOptions(word, queue, options);
    } else {
      words.push(word);
    }
  }
  const [name, ...args] = words;
  const beforeDashes = dashesAt === null ? null : Math.max(0, dashesAt - 1);
  if (name === undefined) return { command: null, args, options, beforeDashes };
  if (name === 'version') options.set('version', true);
  const command = findCommand(name === 'version' ? 'help' : name);
  // "--help" after a wrong command is a question as well, but the typing error is the better answer.
  if (!command) throw unknownCommand(name);
  // Whoever removes something names it; the daemon itself ends at "stop" alone.
  if (command.name === 'stop' && name !== 'stop' && args.length === 0 && !options.has('help')) {
    throw new GraceError(`${name} needs SRC`, { hint: 'to stop the daemon: grace stop', code: 'ERR_GRACE_USAGE' });
  }
  return { command, args, options, beforeDashes };
}

/** `-v` is what some programs know their version by. */
function otherLetters(letter: string): OptionDefinition | undefined {
  return letter === 'v' ? globalOptions.find(({ name }) => name === 'version') : undefined;
}

/** Check a line against its command. Throws GraceError (exit code 2). */
export function checkLine({ command, args, options, beforeDashes }: Line & { command: CommandDefinition }): void {
  const hint = `usage: ${usageOf(command)}`;
  for (const name of options.keys()) {
    // Whoever asks for JSON gets errors so of any command.
    if (name !== 'json' && ![...globalOptions, ...command.options].some((option) => option.name === name)) {
      throw new GraceError(`${command.name} has no option --${name}`, { hint, code: 'ERR_GRACE_USAGE' });
    }
  }
  const own = command.args.findIndex(({ isAfterDashes }) => isAfterDashes);
  // Of the words after -- none is one that belongs before it.
  const given = own === -1 || beforeDashes === null ? args.length : Math.min(args.length, beforeDashes);
  const missing = command.args.slice(given).filter((argument) => argument.required);
  if (missing.length > 0) {
    const names = missing.map((argument) => argument.name).join(' and ');
    throw new GraceError(`${command.name} needs ${names}`, { hint, code: 'ERR_GRACE_USAGE' });
  }
  // One that an empty variable of a script was to name must not be left out.
  if (own !== -1 && beforeDashes !== null && args.length <= own)
    throw new GraceError('there is no command after --', { hint, code: 'ERR_GRACE_USAGE' });
  if (own !== -1 && args.length > own && beforeDashes !== own)
    throw new GraceError(`${command.name} needs -- before the command that it is to run`, {
      hint,
      code: 'ERR_GRACE_USAGE',
    });
  const extra = command.args.at(-1)?.isList ? undefined : args[command.args.length];
  if (extra !== undefined)
    throw new GraceError(`${command.name} has no use for the argument ${quoted(extra)}`, {
      hint,
      code: 'ERR_GRACE_USAGE',
    });
  for (const [index, { choices }] of command.args.entries()) {
    const value = args[index];
    if (choices === undefined || value === undefined || choices.includes(value)) continue;
    throw new GraceError(`${command.name} takes ${choices.join(' or ')}, not ${quoted(value)}`, {
      hint,
      code: 'ERR_GRACE_USAGE',
    });
  }
}

/** The line as words for cac: the command, its arguments, then its options, all values marked. */
export function wordsForCac({ command, args, options }: Line & { command: CommandDefinition }): string[] {
  const marked = [...options].map(([name, value]) => (value === true ? `--${name}` : `--${name}=${mark}${value}`));
  return [command.name, ...args.map((value) => mark + value), ...marked];
}

/** A value as it was typed, from what cac hands to an action; undefined when it was not given. */
export function valueFromCac(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(mark.length) : undefined;
}

function readLongOption(word: string, queue: string[], options: Map<string, string | true>): void {
  const [, name = '', value] = /^--([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
  const option = allOptions().find((each) => each.name === name);
  if (!option) throw unknownOption(word.replace(/=.*$/s, ''));
  if (option.value !== undefined) {
    options.set(name, value ?? takeValue(`--${name}`, option, queue));
  } else if (value === undefined) {
    options.set(name, true);
  } else {
    throw new GraceError(`option --${name} takes no value`, { code: 'ERR_GRACE_USAGE' });
  }
}

/** `-f`, `-d DIR`, `-dDIR`, and letters together, `-fd DIR`. */
function readShortOptions(word: string, queue: string[], options: Map<string, string | true>): void {
  for (let index = 1; index < word.length; index++) {
    const letter = word.charAt(index);
    const option = allOptions().find((each) => each.short === letter) ?? otherLetters(letter);
    if (!option) throw unknownOption(word);
    if (option.value === undefined) {
      options.set(option.name, true);
      continue;
    }
    const attached = word.slice(index + 1).replace(/^=/, '');
    options.set(option.name, attached === '' ? takeValue(`-${letter}`, option, queue) : attached);
    return;
  }
}

function takeValue(typed: string, option: OptionDefinition, queue: string[]): string {
  const value = queue.shift();
  // A lone option in place of a value is a forgotten value; "--dir=--json" says it on purpose.
  if (value !== undefined && !/^--./.test(value)) return value;
  throw new GraceError(`option ${typed} needs a value: ${typed} ${option.value}`, { code: 'ERR_GRACE_USAGE' });
}

/** Whether an option takes a value does not depend on the command, so it can be read before the command is known. */
function allOptions(): OptionDefinition[] {
  return [...globalOptions, ...commands.flatMap((command) => command.options)];
}

function unknownOption(typed: string): GraceError {
  const guess = nearest(
    typed.replace(/^-+/, ''),
    allOptions().map((option) => option.name),
  );
  const hint = guess === undefined ? 'put -- before an argument that begins with a dash' : `did you mean --${guess}?`;
  return new GraceError(`there is no option ${typed}`, { hint, code: 'ERR_GRACE_USAGE' });
}

/** The error for a word that is no command, with the nearest that is. */
export function unknownCommand(typed: string): GraceError {
  const guess = nearest(
    typed,
    commands.map((command) => command.name),
  );
  const hint = guess === undefined ? 'see: grace --help' : `did you mean "grace ${guess}"?`;
  return new GraceError(`there is no command ${quoted(typed)}`, { hint, code: 'ERR_GRACE_USAGE' });
}
