import { resolve } from 'node:path';
import { logVariable, standardError } from '../control/log-place.ts';
import type { GivenRule } from '../control/given-rules.ts';
import { quoted } from '../endpoint/error.ts';
import { parseServer } from '../endpoint/server.ts';
import { GraceError } from '../error.ts';
import { findGroup } from '../sys/group.ts';
import type { Context, Input } from './context.ts';
import { readDestination, readSource } from './endpoint-text.ts';

/** `grace daemon [SRC=DST …] [--no-keeper] [--engine NAME] [--threads N] [--log FILE|-] [--log-format FORMAT] [--socket-group GROUP]` */
export async function daemon({ dir, programs, cwd, env }: Context, input: Input): Promise<number> {
  return await programs.daemon({
    dir,
    rules: input.args.flatMap((text) => (text === undefined ? [] : [readRule(text, cwd)])),
    keeper: input.has('no-keeper') ? false : undefined,
    engine: readChoice(input, 'engine', ['auto', 'native', 'portable'] as const),
    threads: readThreads(input),
    log: readLog(input.value('log') ?? env[logVariable], cwd),
    logFormat: readChoice(input, 'log-format', ['text', 'json'] as const),
    socketGroup: readGroup(input),
  });
}

/** `SRC=DST`, which is taken apart at the one "=" that has an endpoint on either side. */
function readRule(text: string, cwd: string): GivenRule {
  const found: GivenRule[] = [];
  for (let at = text.indexOf('='); at !== -1; at = text.indexOf('=', at + 1)) {
    try {
      parseServer(text.slice(0, at));
      found.push({ src: readSource(text.slice(0, at), cwd), dst: readDestination(text.slice(at + 1), cwd) });
    } catch (error) {
      if (!(error instanceof GraceError)) throw error; // no endpoints there
    }
  }
  const [rule, other] = found;
  if (!rule) throw new GraceError(`${quoted(text)} is no rule`, { hint: 'a rule is SRC=DST, as in 8080=app:9001 or tcp:8080:interface=127.0.0.1=tcp:app:9001; see: grace help endpoints', code: 'ERR_GRACE_USAGE' });
  if (other) throw new GraceError(`${quoted(text)} can be read in two ways: from ${quoted(rule.src.typed)} to ${quoted(rule.dst.typed)}, or from ${quoted(other.src.typed)} to ${quoted(other.dst.typed)}`, { hint: 'start it with: grace start SRC DST', code: 'ERR_GRACE_USAGE' });
  return rule;
}

function readLog(value: string | undefined, cwd: string): string | undefined {
  if (value === '') throw new GraceError('--log takes a file, or - for standard error', { code: 'ERR_GRACE_USAGE' });
  return value === undefined || value === standardError ? value : resolve(cwd, value);
}

function readGroup(input: Input): number | undefined {
  const name = input.value('socket-group');
  if (name === undefined) return undefined;
  const group = findGroup(name);
  if (group === null) throw new GraceError(`--socket-group: there is no group ${quoted(name)}`, { hint: `make it with: groupadd --system ${/^[a-z_][a-z0-9_-]*$/.test(name) ? name : 'NAME'}`, code: 'ERR_GRACE_USAGE' });
  return group;
}

/** More threads than this help nobody. */
const mostThreads = 64;

function readThreads(input: Input): number | undefined {
  const value = input.value('threads');
  if (value === undefined) return undefined;
  const count = Number(value);
  if (/^[0-9]+$/.test(value) && count >= 1 && count <= mostThreads) return count;
  throw new GraceError(`--threads takes a number from 1 to ${mostThreads}, not ${quoted(value)}`, { code: 'ERR_GRACE_USAGE' });
}

function readChoice<T extends string>(input: Input, option: string, choices: readonly T[]): T | undefined {
  const value = input.value(option);
  if (value === undefined) return undefined;
  const choice = choices.find((each) => each === value);
  if (choice === undefined) {
    throw new GraceError(`--${option} takes ${choices.join(', ').replace(/, ([^,]+)$/, ' or $1')}, not ${quoted(value)}`, { code: 'ERR_GRACE_USAGE' });
  }
  return choice;
}
