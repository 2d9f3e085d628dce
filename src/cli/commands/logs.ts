import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { GraceError } from '../../error.ts';
import { call } from '../../control/client.ts';
import { isRuleName } from '../../control/rule-name.ts';
import { serverKey } from '../../endpoint/identity.ts';
import { parseServer } from '../../endpoint/server.ts';
import { isNoDaemon } from '../../kinds.ts';
import { readSource, sourceKey } from '../endpoint-text.ts';
import { parseDurationOption } from '../duration.ts';
import type { Context, Input } from '../context.ts';
import { findLog } from '../log-place.ts';
import type { LogPlace } from '../log-place.ts';
import { LogPrinter } from '../log-printer.ts';
import { watchReader } from '../reader-gone.ts';
import { LogReader, watchFile } from '../log-reader.ts';

/** `grace logs [SRC] [--follow] [-n N] [--since TIME]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { stdout } = context;
  const src = input.args[0];
  const choice = {
    src: src === undefined ? null : await keyOf(src, context),
    last: readCount(input.value('lines')),
    sinceMs: readSince(input.value('since')),
    follow: input.has('follow'),
  };
  const place = await findLog(context);
  const printer = new LogPrinter(stdout, choice);
  using reader = watchReader(stdout);
  const readTo = { ...context, signal: AbortSignal.any([context.signal, reader.signal]) };
  try {
    if (place.kind === 'journal') return await copyJournal(readTo, place, choice, printer);
    await copyFile(readTo, place, choice, printer);
    // What is said of a rule that was stopped is worth reading; of one that never was there is nothing.
    if (src !== undefined && !printer.hasPrinted) await mustBeForwarded(src, context);
  } catch (error) {
    if (!reader.signal.aborted) throw error;
  }
  return 0;
}

/** The key of the source that the log has of SRC, or of the rule with this name. Rejects with GraceError. */
async function keyOf(src: string, context: Context): Promise<string> {
  if (!isRuleName(src)) return sourceKey(src, context.cwd);
  const { rules } = await call(context.dir, { command: 'export' }, { signal: context.signal });
  const rule = rules.find((each) => each.src.name === src);
  if (rule === undefined) await askFor(src, context);
  return serverKey(parseServer(rule?.src.typed ?? src));
}

/** Rejects with GraceError (exit code 4) when a daemon runs and has no such rule. */
async function mustBeForwarded(src: string, context: Context): Promise<void> {
  try {
    await askFor(src, context);
  } catch (error) {
    if (!isNoDaemon(error)) throw error;
  }
}

async function askFor(src: string, { dir, cwd, signal }: Context): Promise<void> {
  await call(dir, { command: 'ls', src: readSource(src, cwd) }, { signal });
}

type Choice = { src: string | null; last: number | null; sinceMs: number | null; follow: boolean };

async function copyFile(
  { signal }: Context,
  { path, isInUse }: LogPlace & { kind: 'file' },
  { follow }: Choice,
  printer: LogPrinter,
): Promise<void> {
  await using reader = await LogReader.open(path, (bytes) => printer.take(bytes), { isInUse });
  // Watching begins before reading, so that nothing falls between the two.
  using changes = follow ? watchFile(path, signal) : null;
  await reader.copyNew(signal);
  await printer.endOfPast({ isAll: !follow });
  while (changes !== null) {
    await changes.next();
    await reader.copyNew(signal);
  }
}

/** journalctl reads the journal, and knows how to go on. What concerns one SRC is picked out of what it prints. */
async function copyJournal(
  { signal }: Context,
  { unit, ofUser }: { unit: string; ofUser: boolean },
  { src, last, sinceMs, follow }: Choice,
  printer: LogPrinter,
): Promise<number> {
  const args = ['--no-pager', '--quiet', '--output=short-iso', ...(ofUser ? ['--user'] : []), '--unit', unit];
  if (sinceMs !== null) args.push(`--since=@${Math.floor(sinceMs / 1000)}`);
  args.push(`--lines=${last === null || src !== null ? 'all' : last}`, ...(follow ? ['--follow'] : []));
  const child = spawn('journalctl', args, { stdio: ['ignore', 'pipe', 'inherit'], signal });
  const failed = once(child, 'error').then(([error]) => {
    signal.throwIfAborted();
    throw new GraceError(`cannot run journalctl: ${(error as Error).message}`, {
      hint: `the log is in the journal of ${unit}`,
    });
  });
  const copied = (async () => {
    for await (const bytes of child.stdout) {
      await printer.take(bytes as Buffer);
      if (follow) await printer.endOfPast({ isAll: false });
    }
    await printer.endOfPast({ isAll: true });
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode ?? 1;
  })();
  return await Promise.race([copied, failed]);
}

function readCount(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^[0-9]{1,9}$/.test(text))
    throw new GraceError(`-n takes a number of lines, not "${text}"`, { code: 'ERR_GRACE_USAGE' });
  return Number(text);
}

/** A duration back from now, or a date and time that the runtime reads. Returns milliseconds since the epoch. */
function readSince(text: string | undefined): number | null {
  if (text === undefined) return null;
  const date = /^[0-9]{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(date)) return date;
  if (/^[0-9]{4}-/.test(text))
    throw new GraceError(`cannot read --since "${text}": expected a time as 2026-01-31T12:00 or a duration as 10m`, {
      code: 'ERR_GRACE_USAGE',
    });
  try {
    return Date.now() - parseDurationOption(text, '--since');
  } catch (error) {
    if (!(error instanceof GraceError)) throw error;
    throw new GraceError(error.message.replace(/expected a duration$/, 'expected a duration or a time'), {
      hint: error.hint && `${error.hint} (ago); a time is 2026-01-31 or 2026-01-31T12:00`,
      code: error.code,
    });
  }
}
