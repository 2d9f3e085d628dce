import { call } from '../../control/client.ts';
import { readClientAddress } from '../../control/client-address.ts';
import { GraceError } from '../../error.ts';
import type { Context, Input } from '../context.ts';
import { parseDurationOption } from '../duration.ts';
import { readDestination, readSource } from '../endpoint-text.ts';
import { printJson, printLine, printNote } from '../output.ts';

/** `grace close [SRC] [--id ID] [--client ADDRESS] [--dst DST] [--idle DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, cwd } = context;
  const [typed] = input.args;
  const [id, client, dst, idle] = ['id', 'client', 'dst', 'idle'].map((option) => input.value(option));
  if (typed === undefined && id === undefined && client === undefined)
    throw new GraceError('close needs SRC, --id or --client', {
      hint: 'see which connections there are with: grace ls --connections',
      code: 'ERR_GRACE_USAGE',
    });
  if (client !== undefined) readClientAddress(client);
  const answer = await call(
    dir,
    {
      command: 'close',
      ...(typed === undefined ? {} : { src: readSource(typed, cwd) }),
      ...(dst === undefined ? {} : { dst: readDestination(dst, cwd) }),
      ...(client === undefined ? {} : { client }),
      ...(idle === undefined ? {} : { idleMs: parseDurationOption(idle, '--idle') }),
      ...(id === undefined ? {} : { ids: id.split(',').map((each) => each.trim()) }),
    },
    { signal },
  );
  const { closed } = answer;
  const notes = [
    ...answer.notes,
    ...(id !== undefined && closed === 0
      ? ['no such connection is open; to see which are: grace ls --connections']
      : []),
  ];
  for (const note of notes) printNote(context, note);
  if (input.has('json')) printJson(context, { ...(typed === undefined ? {} : { src: typed }), closed, notes });
  else printLine(context.stdout, `Closed ${closed}`);
  return 0;
}
