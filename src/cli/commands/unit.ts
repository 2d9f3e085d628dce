import { quoted } from '../../endpoint/error.ts';
import { GraceError } from '../../error.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { unitKinds } from '../../control/commands/program.ts';
import { defaultPaths, unitText } from '../unit-files.ts';

/** `grace unit systemd|socket|sysv|openrc|runit|supervisord|logrotate [--socket-group GROUP]`: the file for it, with this executable and the state dir in. */
export function run(context: Context, input: Input): number {
  const { env, self, stdout, stderr } = context;
  const kind = unitKinds.find((each) => each === argument(input, 0))!;
  // The state dir of a user is no place for a service, unless it was named.
  const dir = input.value('dir') !== undefined || env['GRACE_DIR'] ? context.dir : defaultPaths.dir;
  const isExecutable = self.args.length === 0;
  if (!isExecutable) stderr.write(`note: this grace is no executable; the file is for ${defaultPaths.executable}\n`);
  const executable = isExecutable ? self.file : defaultPaths.executable;
  for (const path of [executable, dir]) {
    if (/[^\w/.,+@:-]/.test(path))
      throw new GraceError(
        `cannot put "${path}" into a file for ${kind}: it has a character that such files take for something else`,
        { hint: 'use a path of letters, digits and / . , + @ : _ -' },
      );
  }
  const group = input.value('socket-group') ?? null;
  if (group !== null && !/^([A-Za-z_][\w.-]*|[0-9]+)$/.test(group))
    throw new GraceError(`--socket-group takes the name or number of a group, not ${quoted(group)}`, {
      code: 'ERR_GRACE_USAGE',
    });
  stdout.write(unitText(kind, { executable, dir }, group));
  return 0;
}
