import { startWithDaemon } from '../control/launch.ts';
import { argument } from './context.ts';
import type { Context, Input } from './context.ts';
import { readDestination, readSource } from './endpoint-text.ts';
import { printLine, printNote } from './output.ts';

/** `grace start SRC DST` */
export async function start(context: Context, input: Input): Promise<number> {
  const { dir, self, cwd, stdout } = context;
  const src = readSource(argument(input, 0), cwd);
  const dst = readDestination(argument(input, 1), cwd);
  const onNote = (note: string) => printNote(context, note);
  const { notes } = await startWithDaemon({ dir, self, onNote, request: { command: 'start', src, dst } });
  notes.forEach(onNote);
  printLine(stdout, 'Started');
  return 0;
}
