import { startWithDaemon } from '../control/launch.ts';
import { innerEndpoint } from '../endpoint/inner.ts';
import type { ServerEndpoint } from '../endpoint/model.ts';
import { parseServer } from '../endpoint/server.ts';
import { argument } from './context.ts';
import type { Context, Input } from './context.ts';
import { readPair } from './endpoint-text.ts';
import { printLine, printNote } from './output.ts';

/** `grace start SRC DST` */
export async function start(context: Context, input: Input): Promise<number> {
  const { dir, self, cwd, stdout, isTTY } = context;
  const { src, dst } = readPair({ command: 'start', src: argument(input, 0), dst: argument(input, 1), cwd });
  const onNote = (note: string) => printNote(context, note);
  let isLaunched = false;
  const onLaunch = () => void (isLaunched = true);
  const { changed, notes } = await startWithDaemon({ dir, self, onNote, onLaunch, request: { command: 'start', src, dst } });
  notes.forEach(onNote);
  printLine(stdout, 'Started');
  if (isTTY && isLaunched) onNote(`a daemon was started in the background, with the state dir ${dir}`);
  if (isTTY && changed && listensEverywhere(parseServer(src.absolute))) {
    onNote(`${src.typed} takes connections from every network of this machine; add :interface=127.0.0.1 for this machine only`);
  }
  return 0;
}

/** The default of `tcp` and `ssl`, which is easily meant otherwise; an address that was written was meant. */
function listensEverywhere(endpoint: ServerEndpoint): boolean {
  const inner = innerEndpoint(endpoint);
  return 'interface' in inner && inner.interface === '';
}
