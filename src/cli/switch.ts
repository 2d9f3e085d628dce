import { call } from '../control/client.ts';
import { GraceError } from '../error.ts';
import { argument } from './context.ts';
import type { Context, Input } from './context.ts';
import { parseDuration } from './duration.ts';
import { readPair } from './endpoint-text.ts';
import { printJson, printLine, printNote } from './output.ts';
import { waitUntilDrained } from './wait.ts';

/** `grace switch SRC DST [--no-check] [--wait [--timeout DURATION]]` */
export async function switchRule(context: Context, input: Input): Promise<number> {
  const { dir, signal, cwd, stdout } = context;
  const { src, dst } = readPair({ command: 'switch', src: argument(input, 0), dst: argument(input, 1), cwd });
  const timeout = input.value('timeout');
  if (timeout !== undefined && !input.has('wait')) {
    throw new GraceError('--timeout limits --wait, and there is no --wait', { hint: 'to wait until earlier destinations have no connection left, add --wait', exitCode: 2 });
  }
  const timeoutMs = timeout === undefined ? null : parseDuration(timeout, '--timeout');
  const { changed, notes } = await call(dir, { command: 'switch', src, dst, check: !input.has('no-check') }, { signal });
  for (const note of notes) printNote(context, note);
  if (!input.has('json')) printLine(stdout, 'Switched');
  if (input.has('wait')) await waitUntilDrained(context, { src, timeoutMs });
  if (input.has('json')) printJson(context, { src: src.typed, dst: dst.typed, changed, notes });
  return 0;
}
