/** Arguments and options that mean the same in several commands. */
import { daemonOptions } from '../daemon-options.ts';
import type { DaemonOption } from '../daemon-options.ts';
import type { ArgumentDefinition, OptionDefinition } from './definition.ts';

/** Of every command whose output programs read too. */
export const json: OptionDefinition = { name: 'json', help: 'print JSON' };

/** Wherever it stands for a rule that there is, its name does too. */
export const src: ArgumentDefinition = { name: 'SRC', required: true };
/** A destination. */
export const dst: ArgumentDefinition = { name: 'DST', required: true };
/** Without it all of them are meant. */
export const anySrc: ArgumentDefinition = { name: 'SRC', required: false };

/** Options that hold for a daemon, from their table. */
export function ofDaemon(names: readonly string[], when = ''): OptionDefinition[] {
  const rows: Record<string, DaemonOption<unknown>> = daemonOptions;
  return names.map((name) => {
    const { value, choices, help } = rows[name]!;
    return { name, value, ...(choices && { choices }), help: `${when}${help}` };
  });
}
