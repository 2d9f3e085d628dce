/**
 * Every command as one definition: the command line as data, from which parsing, help, completions and the manual
 * are made, and for a command that asks the daemon what goes over the control socket. The definitions are in commands/,
 * by subject. What the client does is in cli/commands/NAME.ts, what the daemon answers in daemon/requests/commands.ts.
 */
import { connectionCommands } from './commands/connections.ts';
import { daemonCommands } from './commands/daemon.ts';
import type { Conversation, Definition, OptionDefinition } from './commands/definition.ts';
import { holdCommands } from './commands/hold.ts';
import { programCommands } from './commands/program.ts';
import { ruleCommands } from './commands/rules.ts';
import { rulesFileCommands } from './commands/rules-file.ts';

/** Options that stand before or after any command. */
export const globalOptions: readonly OptionDefinition[] = [
  { name: 'dir', short: 'd', value: 'DIR', help: 'state dir (default: GRACE_DIR, then ~/.grace)' },
  { name: 'help', short: 'h', help: 'show help, of a command if one is given' },
  { name: 'version', short: 'V', help: 'show the version' },
];

/** Every command, in the order of the help. */
const table = {
  ...ruleCommands,
  ...connectionCommands,
  ...holdCommands,
  ...daemonCommands,
  ...rulesFileCommands,
  ...programCommands,
} satisfies Record<string, Definition>;

/** Every command by its full name. */
export type CommandName = keyof typeof table;

/** What help, completions, the manual page and the parser know of a command. */
export type CommandDefinition = Definition & { name: CommandName };

/** Every command, in the order of the help. */
export const commands: readonly CommandDefinition[] = Object.entries(table).map(([name, definition]) => ({
  name: name as CommandName,
  ...definition,
}));

type Asking = {
  [N in CommandName as (typeof table)[N] extends { asks: Conversation } ? N : never]: (typeof table)[N] extends {
    asks: infer A extends Conversation;
  }
    ? A
    : never;
};

/** What goes over the control socket for the commands that ask the daemon, by their names. */
export const conversationsOfCommands = Object.fromEntries(
  commands.flatMap(({ name, asks }) => (asks ? [[name, asks]] : [])),
) as Asking;

/** The command that goes by a name or an alias. */
export function findCommand(name: string): CommandDefinition | undefined {
  return commands.find((command) => command.name === name || command.aliases.includes(name));
}
