import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { call } from '../../control/client.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { describeError } from '../../sys/system-error.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { printError, printJson, printLine, printNote } from '../output.ts';
import { keyed, readRulesFile } from '../rules-file.ts';
import type { FileRule } from '../rules-file.ts';

type Change = { verb: 'start' | 'switch' | 'stop'; rule: FileRule };

/** Time between two looks at a file that is watched, in milliseconds; it may be replaced by renaming, links on the way too, of which no one event tells. */
const lookMs = 500;

/** `grace apply FILE [--dry-run] [--watch] [--no-check] [--timeout DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const file = argument(input, 0);
  if (!input.has('watch')) {
    await bringAbout(file, context, input);
    return 0;
  }
  if (file === '-')
    throw new GraceError('--watch follows a file, and - is standard input', { code: 'ERR_GRACE_USAGE' });
  const path = resolve(context.cwd, file);
  for (;;) {
    const seen = stampOf(path);
    const changed = new AbortController();
    try {
      await bringAbout(file, context, input);
    } catch (error) {
      context.signal.throwIfAborted();
      printError(context, error); // and what runs goes on; the next change of the file may be right
      void tellDaemon(context, { file: path, problem: errorMessage(error), until: changed.signal });
    }
    try {
      while (stampOf(path) === seen) await delay(lookMs, undefined, { signal: context.signal });
    } finally {
      changed.abort();
    }
  }
}

/** Its log and `status` say that the file is not followed, until it is. Never rejects. */
async function tellDaemon(
  { dir }: Context,
  { file, problem, until }: { file: string; problem: string; until: AbortSignal },
): Promise<void> {
  while (!until.aborted) {
    await call(dir, { command: 'rules-file', file, problem }, { signal: until }).catch(() => {});
    // There is no daemon, or none that knows this: the next one may.
    await delay(lookMs, undefined, { signal: until }).catch(() => {});
  }
}

/** Differs when the file has changed or is another. */
function stampOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs].join();
  } catch {
    return ''; // whoever reads it says why
  }
}

async function bringAbout(file: string, context: Context, input: Input): Promise<void> {
  const { dir, signal, cwd, env, stdout } = context;
  const timeoutMs = parseDuration(input.value('timeout') ?? '30s', '--timeout');
  const wanted = readRulesFile(await read(file, context), { file: file === '-' ? 'stdin' : file, cwd, env });
  const { rules } = await call(dir, { command: 'export' }, { signal });
  const changes = changesTo(wanted, rules.map(keyed));
  const print = (change: Change) => void (input.has('json') || printLine(stdout, describe(change)));
  if (input.has('dry-run')) changes.forEach(print);
  else await applyAll(changes, { context, check: !input.has('no-check'), timeoutMs, print });
  if (input.has('json'))
    printJson(context, {
      changes: changes.map(({ verb, rule }) => ({
        change: verb,
        src: rule.src.typed,
        ...(verb === 'stop' ? {} : { dst: rule.dst.typed }),
      })),
      isDryRun: input.has('dry-run'),
    });
  else
    printLine(
      stdout,
      changes.length === 0
        ? 'No changes'
        : `${input.has('dry-run') ? 'Would apply' : 'Applied'} ${changes.length} changes`,
    );
}

async function read(file: string, { cwd, readStdin }: Context): Promise<string> {
  try {
    return file === '-' ? await readStdin() : readFileSync(resolve(cwd, file), 'utf8');
  } catch (error) {
    throw new GraceError(`cannot read ${file}: ${describeError(error)}`, { code: 'ERR_GRACE_USAGE', cause: error });
  }
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

type ApplyOptions = { context: Context; check: boolean; timeoutMs: number; print: (change: Change) => void };

async function applyAll(changes: readonly Change[], { context, check, timeoutMs, print }: ApplyOptions): Promise<void> {
  const { dir, signal } = context;
  /** Connections of rules that were stopped finish beside all the rest. */
  const stops: Promise<unknown>[] = [];
  for (const [done, change] of changes.entries()) {
    const {
      verb,
      rule: { src, dst },
    } = change;
    try {
      if (verb === 'stop') stops.push((await stopListening(context, { src, timeoutMs })).ended);
      else {
        const isUpsert = verb === 'switch';
        const { notes } = await call(
          dir,
          { command: 'start', src, dst, ...(isUpsert ? { switch: true, check } : {}) },
          { signal },
        );
        for (const note of notes) printNote(context, note);
      }
    } catch (error) {
      await Promise.allSettled(stops);
      const { hint, code } = error instanceof GraceError ? error : { hint: undefined, code: undefined };
      throw new GraceError(
        `${describe(change)}: ${errorMessage(error)} (${done} of ${changes.length} changes were made)`,
        { hint, code, cause: error },
      );
    }
    print(change);
  }
  await Promise.all(stops);
}

/** Resolves when nobody is accepted any more, with what then waits for the connections. */
async function stopListening(
  { dir, signal }: Context,
  { src, timeoutMs }: { src: FileRule['src']; timeoutMs: number },
): Promise<{ ended: Promise<unknown> }> {
  const { promise: hasStopped, resolve: stopped } = Promise.withResolvers<void>();
  const { name: _, ...source } = src;
  const ended = call(dir, { command: 'stop', src: source, timeoutMs }, { signal, onProgress: () => stopped() });
  ended.catch(() => {}); // whoever awaits it hears
  await Promise.race([hasStopped, ended]);
  return { ended };
}
