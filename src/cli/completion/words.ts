/** What can stand at a place of the command line, told from the table of commands. */
import { commands, globalOptions } from '../../control/commands.ts';
import type { CommandDefinition } from '../../control/commands.ts';
import type { ArgumentDefinition, OptionDefinition } from '../../control/commands/definition.ts';

/** `source`: a SRC that is forwarded now. `none`: something that only the user knows. */
export type CompletionPoint =
  { kind: 'directory' | 'file' | 'source' | 'command' | 'none' } | { kind: 'choice'; choices: readonly string[] };

/** What may stand in the place of an argument. */
export function placeOfArgument(command: CommandDefinition, { name, choices }: ArgumentDefinition): CompletionPoint {
  if (choices !== undefined) return { kind: 'choice', choices };
  // What is started is not forwarded yet.
  if (name === 'SRC') return { kind: command.name === 'start' ? 'none' : 'source' };
  return { kind: name === 'COMMAND' ? 'command' : 'none' };
}

/** What the value of an option can be; for a switch, `none`. */
export function placeOfValue({ value, choices }: OptionDefinition): CompletionPoint {
  if (choices !== undefined) return { kind: 'choice', choices };
  if (value === 'DIR') return { kind: 'directory' };
  return { kind: value === 'PATH' || value === 'FILE' ? 'file' : 'none' };
}

/** A command's own options and those of every command. */
export function optionsOf(command: CommandDefinition): OptionDefinition[] {
  return [...command.options, ...globalOptions];
}

/** Every option there is, each name once. */
export function everyOption(): OptionDefinition[] {
  const all = [...globalOptions, ...commands.flatMap((command) => command.options)];
  return [...new Map(all.map((option) => [option.name, option])).values()];
}

/** All that a command answers to. */
export function namesOf({ name, aliases }: CommandDefinition): string[] {
  return [name, ...aliases];
}

/** `-d`, `--dir` */
export function spellings({ name, short }: OptionDefinition): string[] {
  return [...(short === undefined ? [] : [`-${short}`]), `--${name}`];
}
