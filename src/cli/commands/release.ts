import { call } from '../../control/client.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { parseDurationOption } from '../duration.ts';
import { readSource } from '../endpoint-text.ts';
import { counted, printJson, printLine, printNote } from '../output.ts';

/** Time for DST to accept, in milliseconds. */
const defaultTimeoutMs = 30_000;

/** `grace release SRC [--timeout DURATION | --now]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, cwd, stdout } = context;
  const src = argument(input, 0);
  const timeout = input.value('timeout');
  const waitMs = timeout === undefined ? defaultTimeoutMs : parseDurationOption(timeout, '--timeout');
  const { waiting, problem } = await call(
    dir,
    { command: 'release', src: readSource(src, cwd), timeoutMs: input.has('now') ? 0 : waitMs },
    { signal },
  );
  if (problem !== null) printNote(context, `let go all the same: ${problem}`);
  if (input.has('json')) printJson(context, { src, released: true, waiting, ...(problem === null ? {} : { problem }) });
  else printLine(stdout, waiting === 0 ? 'Released' : `Released ${counted(waiting, 'client')}`);
  return 0;
}
