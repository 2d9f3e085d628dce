import { resolve } from 'node:path';
import { logVariable, standardError } from '../control/log-place.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';
import type { Context, Input } from './context.ts';

/** `grace daemon [--no-keeper] [--engine NAME] [--threads N] [--log FILE|-] [--log-format FORMAT]` */
export async function daemon({ dir, programs, cwd, env }: Context, input: Input): Promise<number> {
  return await programs.daemon({
    dir,
    keeper: input.has('no-keeper') ? false : undefined,
    engine: readChoice(input, 'engine', ['auto', 'native', 'portable'] as const),
    threads: readThreads(input),
    log: readLog(input.value('log') ?? env[logVariable], cwd),
    logFormat: readChoice(input, 'log-format', ['text', 'json'] as const),
  });
}

function readLog(value: string | undefined, cwd: string): string | undefined {
  if (value === '') throw new GraceError('--log takes a file, or - for standard error', { exitCode: 2 });
  return value === undefined || value === standardError ? value : resolve(cwd, value);
}

/** More threads than this help nobody. */
const mostThreads = 64;

function readThreads(input: Input): number | undefined {
  const value = input.value('threads');
  if (value === undefined) return undefined;
  const count = Number(value);
  if (/^[0-9]+$/.test(value) && count >= 1 && count <= mostThreads) return count;
  throw new GraceError(`--threads takes a number from 1 to ${mostThreads}, not ${quoted(value)}`, { exitCode: 2 });
}

function readChoice<T extends string>(input: Input, option: string, choices: readonly T[]): T | undefined {
  const value = input.value(option);
  if (value === undefined) return undefined;
  const choice = choices.find((each) => each === value);
  if (choice === undefined) {
    throw new GraceError(`--${option} takes ${choices.join(', ').replace(/, ([^,]+)$/, ' or $1')}, not ${quoted(value)}`, { exitCode: 2 });
  }
  return choice;
}
