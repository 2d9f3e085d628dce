import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GraceError, errorMessage } from '../../error.ts';
import { isNoDaemon } from '../../kinds.ts';
import { unlessAborted } from '../../waiting.ts';
import { readFileWithin } from '../bounded-input.ts';
import { bringAbout, mustBeInForce, presentRules } from '../bring-about.ts';
import { argument, mustNotBeEmpty } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { parseDurationOption } from '../duration.ts';
import { isEtcdAddress, readEtcdAddress } from '../etcd/address.ts';
import { holdRequest } from '../hold-request.ts';
import { hasDaemon, withUsefulHint } from '../hints.ts';
import { printError, printNote } from '../output.ts';
import { readRulesFile } from '../rules-file.ts';
import { mustFitTogether } from '../rules-together.ts';

/** Time between two looks at a file that is watched, in milliseconds; it may be replaced by renaming, links on the way too, of which no one event tells. */
const lookMs = 500;

/** Bytes of the largest file of rules: far more than a daemon can have rules. */
const maxBytes = 64 << 20;

/** `grace apply FILE [--dry-run] [--watch] [--no-check] [--report] [--timeout DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const file = argument(input, 0);
  mustNotBeEmpty(file, { what: 'apply', needs: 'FILE' });
  const timeoutMs = parseDurationOption(input.value('timeout') ?? '30s', '--timeout');
  if (isEtcdAddress(file)) {
    const address = readEtcdAddress(file, context.cwd);
    // What asks etcd is not needed for files.
    const { applyFromEtcd, followEtcd } = await import('../etcd/follow.ts');
    if (input.has('watch')) return await followEtcd(address, { context, input, timeoutMs });
    await applyFromEtcd(address, { context, input, timeoutMs });
    return 0;
  }
  if (input.has('report'))
    throw new GraceError('--report writes to etcd, and the rules are not from there', {
      hint: 'grace apply etcd://HOST/KEY --report',
      code: 'ERR_GRACE_USAGE',
    });
  if (!input.has('watch')) {
    await bringAboutFile(file, { context, input, timeoutMs });
    return 0;
  }
  if (file === '-')
    throw new GraceError('--watch follows a file, and - is standard input', { code: 'ERR_GRACE_USAGE' });
  return await followFile(resolve(context.cwd, file), { context, input, timeoutMs });
}

/** Bring about the rules of a file whenever it has changed, and when there is a daemon at last. Rejects with the signal's reason. */
async function followFile(path: string, options: Applying): Promise<never> {
  const { context, input } = options;
  const { dir, signal } = context;
  let isAwaited = false;
  for (;;) {
    const seen = stampOf(path);
    const changed = new AbortController();
    try {
      await bringAboutFile(argument(input, 0), options);
      isAwaited = false;
    } catch (error) {
      signal.throwIfAborted();
      const wasAwaited = isAwaited;
      isAwaited = isNoDaemon(error);
      // And what runs goes on; the next change of the file may be right.
      if (!(isAwaited && wasAwaited)) printError(context, withUsefulHint(error, { dir, option: input.value('dir') }));
      if (isAwaited && !wasAwaited) printNote(context, 'waiting for a daemon, which gets the rules when it runs');
      // Its log and `status` say that the file is not followed, until it is.
      const request = { command: 'rules-file', file: path, problem: errorMessage(error) } as const;
      if (!isAwaited) void holdRequest(dir, request, { signal: changed.signal });
    }
    try {
      if (isAwaited) await delay(lookMs, undefined, { signal });
      while (stampOf(path) === seen && !(isAwaited && hasDaemon(dir))) await delay(lookMs, undefined, { signal });
    } finally {
      changed.abort();
    }
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

/** Whose command, its options, and the time for connections of rules that are stopped. */
type Applying = { context: Context; input: Input; timeoutMs: number };

async function bringAboutFile(file: string, { context, input, timeoutMs }: Applying): Promise<void> {
  const { cwd, env } = context;
  const wanted = readRulesFile(await read(file, context), { file: file === '-' ? 'stdin' : file, cwd, env });
  await mustFitTogether(wanted);
  const present = await presentRules(context);
  const { ended, changes, printResult } = await bringAbout(wanted, { present, context, input, timeoutMs });
  // One that follows the file is no party to what is changed by hand meanwhile.
  if (changes > 0 && !input.has('dry-run') && !input.has('watch')) await mustBeInForce(wanted, { ended, context });
  await ended;
  printResult();
}

async function read(file: string, { cwd, readStdin, signal }: Context): Promise<string> {
  const bytes =
    file === '-'
      ? await readStdin({ maxBytes })
      : await unlessAborted(readFileWithin(resolve(cwd, file), { maxBytes, what: file }), signal);
  return textOf(bytes, file === '-' ? 'stdin' : file);
}

function textOf(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new GraceError(`${file}: this is no text in UTF-8`, {
      hint: 'a file of rules is YAML: grace export prints one',
      code: 'ERR_GRACE_USAGE',
    });
  }
}
