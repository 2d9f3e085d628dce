/** What makes the rules of the daemon those of a file: the least change, brought about in order. */
import { call } from '../control/client.ts';
import { isNotUnderstood } from '../control/messages.ts';
import { GraceError, errorMessage } from '../error.ts';
import type { Context, Input } from './context.ts';
import { printJson, printLine, printNote } from './output.ts';
import { keyed } from './rules-file.ts';
import type { FileRule } from './rules-file.ts';

type Change = { verb: 'start' | 'switch' | 'stop'; rule: FileRule };

/** The daemon's rules at the moment. Rejects as `call` does. */
export async function presentRules({ dir, signal }: Pick<Context, 'dir' | 'signal'>): Promise<FileRule[]> {
  const { rules } = await call(dir, { command: 'export' }, { signal });
  return rules.map(keyed);
}

/** Whether the daemon, which has the present ones, has these rules and no others. */
export function isInForce(wanted: readonly FileRule[], present: readonly FileRule[]): boolean {
  return changesTo(wanted, present).length === 0;
}

/** Rejects with GraceError, when what has `ended` is over, unless the daemon has the rules that were just brought about. */
export async function mustBeInForce(
  wanted: readonly FileRule[],
  { ended, context }: { ended: Promise<unknown>; context: Context },
): Promise<void> {
  if (isInForce(wanted, await presentRules(context))) return;
  await ended;
  throw new GraceError('another command changed rules at the same time: they are not those that were to be', {
    hint: 'see: grace export; then apply them again',
  });
}

/** What has been brought about. */
export type Outcome = {
  /** Resolves when the connections of rules that were stopped have ended, or their time was up; rejects when that failed. */
  ended: Promise<unknown>;
  /** Print what was done, by the options of the command. */
  printResult(): void;
  /** How many changes were made, or would be. */
  changes: number;
};

/** How it is brought about. */
export type BringAboutOptions = {
  /** What the daemon has. */
  present: readonly FileRule[];
  context: Context;
  /** The options of `apply`. */
  input: Input;
  /** For connections of rules that are stopped, in milliseconds. */
  timeoutMs: number;
  /** Of who comes back until all is done: ends what is under way, and a change that fails does not keep others from being made. */
  superseded?: AbortSignal;
};

/**
 * Make the rules of the daemon those that are wanted; a line is printed for each change. Rejects with GraceError when
 * one fails.
 */
export async function bringAbout(
  wanted: readonly FileRule[],
  { present, context, input, timeoutMs, superseded }: BringAboutOptions,
): Promise<Outcome> {
  const { stdout } = context;
  const changes = changesTo(wanted, present);
  const isDryRun = input.has('dry-run');
  const print = (change: Change) => void (input.has('json') || printLine(stdout, describe(change)));
  /** Connections of rules that were stopped finish beside all the rest. */
  const stops: Promise<unknown>[] = [];
  if (isDryRun) changes.forEach(print);
  else
    await (superseded ? applyEach : applyAll)(changes, {
      context,
      signal: superseded ? AbortSignal.any([context.signal, superseded]) : context.signal,
      check: !input.has('no-check'),
      timeoutMs,
      print,
      stops,
    });
  const ended = Promise.all(stops);
  ended.catch(() => {}); // whoever awaits it hears
  return {
    ended,
    changes: changes.length,
    printResult() {
      if (input.has('json')) return printJson(context, { changes: changes.map(resultOf), isDryRun });
      printLine(
        stdout,
        changes.length === 0 ? 'No changes' : `${isDryRun ? 'Would apply' : 'Applied'} ${changes.length} changes`,
      );
    },
  };
}

function resultOf({ verb, rule: { src, dst } }: Change): object {
  return { change: verb, src: src.typed, ...(verb === 'stop' ? {} : { dst: dst.typed }) };
}

/** The least that makes the one of the other: what is stopped makes room first. */
function changesTo(wanted: readonly FileRule[], present: readonly FileRule[]): Change[] {
  const change =
    (verb: Change['verb']) =>
    (rule: FileRule): Change => ({ verb, rule });
  const kept = new Set(wanted.map(({ listenKey }) => listenKey));
  const before = new Map(present.map((rule) => [rule.listenKey, rule]));
  const isOther = (rule: FileRule) => {
    const known = before.get(rule.listenKey);
    if (known === undefined) return false;
    // A name that the file does not speak of stays.
    return known.key !== rule.key || (rule.src.name !== undefined && rule.src.name !== known.src.name);
  };
  return [
    ...present.filter(({ listenKey }) => !kept.has(listenKey)).map(change('stop')),
    ...wanted.filter(({ listenKey }) => !before.has(listenKey)).map(change('start')),
    ...wanted.filter(isOther).map(change('switch')),
  ];
}

function describe({ verb, rule: { src, dst } }: Change): string {
  return verb === 'stop' ? `stop ${src.typed}` : `${verb} ${src.typed} ${dst.typed}`;
}

type ApplyOptions = {
  context: Context;
  /** Ends what is not done yet, but for rules that are stopped. */
  signal: AbortSignal;
  check: boolean;
  timeoutMs: number;
  print: (change: Change) => void;
  /** Gets the end of each rule that is stopped. */
  stops: Promise<unknown>[];
};

/** Changes that are asked for at once, at the most: a rule whose parameters change accepts nobody meanwhile. */
const maxTogether = { start: 100, stop: 100, switch: 50 };

/** Room for a request, in characters of its rules; the daemon takes a million. */
const maxRequest = 500_000;

/** In order, up to the first that fails; those of one kind together, with one write of the daemon. */
async function applyAll(changes: readonly Change[], options: ApplyOptions): Promise<void> {
  for (let done = 0; done < changes.length;) {
    const some = togetherWith(changes, done);
    let made = 0;
    try {
      await applySome(some, options, (count) => {
        for (const change of some.slice(made, count)) options.print(change);
        made = Math.max(made, count);
      }).catch(async (error: unknown) => {
        if (!isNotUnderstood(error)) throw error;
        // A daemon that was not restarted since an upgrade takes them one by one.
        for (; made < some.length; made++) await applyOne(some[made]!, options);
      });
    } catch (error) {
      await Promise.allSettled(options.stops);
      throw failureOf(some[made] ?? some[0]!, error, ` (${done + made} of ${changes.length} changes were made)`);
    }
    done += some.length;
  }
}

/** Those from this one on that are asked for with it. */
function togetherWith(changes: readonly Change[], first: number): readonly Change[] {
  const { verb } = changes[first]!;
  let room = maxRequest;
  const fits = ({ verb: other, rule }: Change, index: number) =>
    index === 0 || (other === verb && (room -= JSON.stringify([rule.src, rule.dst]).length) > 0);
  const most = changes.slice(first, first + maxTogether[verb]);
  const end = most.findIndex((change, index) => !fits(change, index));
  return end < 0 ? most : most.slice(0, end);
}

/** `made` hears how many are in force. Resolves when all are; connections of rules that are stopped go on, see `stops`. */
async function applySome(
  changes: readonly Change[],
  { context, signal, check, timeoutMs, stops }: ApplyOptions,
  made: (count: number) => void,
): Promise<void> {
  signal.throwIfAborted();
  const { verb } = changes[0]!;
  const rules = changes.map(({ rule: { src, dst } }) => (verb === 'stop' ? { src: withoutName(src) } : { src, dst }));
  const { promise: isMade, resolve } = Promise.withResolvers<void>();
  const ended = call(
    context.dir,
    { command: 'apply', verb, rules, check, timeoutMs },
    {
      signal,
      onProgress: ({ made: count, notes }) => {
        made(count);
        for (const note of notes) printNote(context, note);
        if (count === changes.length) resolve();
      },
    },
  );
  ended.catch(() => {}); // whoever awaits it hears
  await Promise.race([isMade, ended]);
  if (verb === 'stop') stops.push(ended);
}

/** Changes that are made beside each other, at the most. */
const maxAtOnce = 32;

/** All that can be made, so that a destination which does not answer holds up no other rule; what is stopped makes room first. */
async function applyEach(changes: readonly Change[], options: ApplyOptions): Promise<void> {
  const failures: GraceError[] = [];
  const waiting = changes.filter(({ verb }) => verb !== 'stop');
  const attempt = (change: Change) =>
    applyOne(change, options).catch((error: unknown) => void failures.push(failureOf(change, error)));
  for (const change of changes) if (change.verb === 'stop') await attempt(change);
  const work = async () => {
    for (let change = waiting.shift(); change; change = waiting.shift()) await attempt(change);
  };
  await Promise.all(Array.from({ length: maxAtOnce }, work));
  const [first] = failures;
  if (!first) return;
  options.signal.throwIfAborted();
  const more = failures.length > 1 ? ` (and ${failures.length - 1} more)` : '';
  throw new GraceError(`${first.message}${more}`, { hint: first.hint, code: first.code, cause: first });
}

async function applyOne(
  change: Change,
  { context, signal, check, timeoutMs, print, stops }: ApplyOptions,
): Promise<void> {
  signal.throwIfAborted();
  const { verb } = change;
  const { src, dst } = change.rule;
  if (verb === 'stop') stops.push((await stopListening(context, { src, timeoutMs })).ended);
  else {
    const { notes } = await call(
      context.dir,
      { command: 'start', src, dst, ...(verb === 'switch' ? { switch: true, check } : {}) },
      { signal },
    );
    for (const note of notes) printNote(context, note);
  }
  print(change);
}

function failureOf(change: Change, error: unknown, more = ''): GraceError {
  const { hint, code } = error instanceof GraceError ? error : { hint: undefined, code: undefined };
  // Of this change alone, and others may have been made.
  const parts = hint?.split('; ').filter((part) => part !== 'nothing was changed') ?? [];
  return new GraceError(`${describe(change)}: ${errorMessage(error)}${more}`, {
    hint: parts.length > 0 ? parts.join('; ') : undefined,
    code,
    cause: error,
  });
}

/** Resolves when nobody is accepted any more, with what then waits for the connections. */
async function stopListening(
  { dir, signal }: Context,
  { src, timeoutMs }: { src: FileRule['src']; timeoutMs: number },
): Promise<{ ended: Promise<unknown> }> {
  const { promise: hasStopped, resolve: stopped } = Promise.withResolvers<void>();
  const ended = call(
    dir,
    { command: 'stop', src: withoutName(src), timeoutMs },
    { signal, onProgress: () => stopped() },
  );
  ended.catch(() => {}); // whoever awaits it hears
  await Promise.race([hasStopped, ended]);
  return { ended };
}

function withoutName(src: FileRule['src']): FileRule['src'] {
  const { name: _, ...source } = src;
  return source;
}
