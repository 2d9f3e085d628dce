import { resolve } from 'node:path';
import { absoluteOptions, readSettings, wordsOfOptions } from '../../control/daemon-options.ts';
import { logVariable, standardError } from '../../control/log-place.ts';
import type { GivenRule } from '../../control/given-rules.ts';
import { quoted } from '../../endpoint/error.ts';
import { listenKey } from '../../endpoint/identity.ts';
import { parseServer } from '../../endpoint/server.ts';
import { GraceError } from '../../error.ts';
import type { Context, Input } from '../context.ts';
import { readDestination, readSource } from '../endpoint-text.ts';

/** `grace daemon [SRC=DST …] [--no-keeper] [--log FILE|-]` and what daemon-options.ts lists. */
export async function run({ dir, programs, cwd, env }: Context, input: Input): Promise<number> {
  const given = absoluteOptions(input.value, cwd);
  return await programs.daemon({
    dir,
    rules: readRules(
      input.args.flatMap((text) => text ?? []),
      cwd,
    ),
    keeper: input.has('no-keeper') ? false : undefined,
    log: readLog(input.value('log') ?? (env[logVariable] || undefined), cwd), // an empty variable is none
    settings: readSettings(given),
    flags: wordsOfOptions(given),
  });
}

/** Throws GraceError (exit code 2) for what is no rule, and for two of one address. */
function readRules(texts: readonly string[], cwd: string): GivenRule[] {
  const rules = texts.map((text) => readRule(text, cwd));
  const places = rules.map(({ src }) => listenKey(parseServer(src.absolute)));
  const second = places.findIndex((place, index) => places.indexOf(place) !== index);
  if (second === -1) return rules;
  throw new GraceError(
    `${quoted(texts[places.indexOf(places[second]!)]!)} and ${quoted(texts[second]!)} are for the same address`,
    { hint: 'a source has one destination', code: 'ERR_GRACE_USAGE' },
  );
}

/** `SRC=DST`, which is taken apart at the one "=" that has an endpoint on either side. */
function readRule(text: string, cwd: string): GivenRule {
  const found: GivenRule[] = [];
  let why: GraceError | null = null;
  for (let at = text.indexOf('='); at !== -1; at = text.indexOf('=', at + 1)) {
    const src = attempt(() => {
      parseServer(text.slice(0, at)); // a name is no source here
      return readSource(text.slice(0, at), cwd);
    });
    if (src instanceof GraceError) continue;
    const dst = attempt(() => readDestination(text.slice(at + 1), cwd));
    if (dst instanceof GraceError) why ??= dst;
    else found.push({ src, dst });
  }
  const [rule, other] = found;
  if (!rule && why)
    throw new GraceError(`${quoted(text)} is no rule: ${why.message}`, { hint: why.hint, code: 'ERR_GRACE_USAGE' });
  if (!rule)
    throw new GraceError(`${quoted(text)} is no rule`, {
      hint: 'a rule is SRC=DST, as in 8080=app:9001 or tcp:8080:interface=127.0.0.1=tcp:app:9001; see: grace help endpoints',
      code: 'ERR_GRACE_USAGE',
    });
  if (other)
    throw new GraceError(
      `${quoted(text)} can be read in two ways: from ${quoted(rule.src.typed)} to ${quoted(rule.dst.typed)}, or from ${quoted(other.src.typed)} to ${quoted(other.dst.typed)}`,
      { hint: 'start it with: grace start SRC DST', code: 'ERR_GRACE_USAGE' },
    );
  return rule;
}

function attempt<T>(read: () => T): T | GraceError {
  try {
    return read();
  } catch (error) {
    if (error instanceof GraceError) return error; // no endpoint there
    throw error;
  }
}

function readLog(value: string | undefined, cwd: string): string | undefined {
  if (value === '') throw new GraceError('--log takes a file, or - for standard error', { code: 'ERR_GRACE_USAGE' });
  return value === undefined || value === standardError ? value : resolve(cwd, value);
}
