import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';
import type { Context, Input } from './context.ts';

/** `grace daemon [--no-keeper] [--engine NAME] [--log-format FORMAT]` */
export async function daemon({ dir, programs }: Context, input: Input): Promise<number> {
  return await programs.daemon({
    dir,
    keeper: input.has('no-keeper') ? false : undefined,
    engine: readChoice(input, 'engine', ['portable'] as const),
    logFormat: readChoice(input, 'log-format', ['text', 'json'] as const),
  });
}

function readChoice<T extends string>(input: Input, option: string, choices: readonly T[]): T | undefined {
  const value = input.value(option);
  if (value === undefined) return undefined;
  const choice = choices.find((each) => each === value);
  if (choice === undefined) {
    throw new GraceError(`--${option} takes ${choices.join(' or ')}, not ${quoted(value)}`, { exitCode: 2 });
  }
  return choice;
}
