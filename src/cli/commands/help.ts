import { findCommand } from '../../control/commands.ts';
import { unknownCommand } from '../arguments.ts';
import type { Context, Input } from '../context.ts';
import { commandHelp, endpointHelp, generalHelp } from '../help.ts';
import { printLine } from '../output.ts';

/** `grace help [COMMAND|endpoints]` */
export function run({ stdout }: Context, { args: [name] }: Input): number {
  printLine(stdout, textOf(name));
  return 0;
}

function textOf(name: string | undefined): string {
  if (name === undefined) return generalHelp();
  if (name === 'endpoints') return endpointHelp();
  const command = findCommand(name);
  if (command === undefined) throw unknownCommand(name);
  return commandHelp(command);
}
