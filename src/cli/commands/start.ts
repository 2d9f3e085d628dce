import { checkAdmin } from '../../control/admin.ts';
import { absoluteOptions, readSettings, startOptions, wordsOfOptions } from '../../control/daemon-options.ts';
import { isRuleName } from '../../control/rule-name.ts';
import { quoted } from '../../endpoint/error.ts';
import { GraceError } from '../../error.ts';
import { call } from '../../control/client.ts';
import { startWithDaemon } from '../../control/launch.ts';
import { checkClient, checkServer } from '../../endpoint/check.ts';
import { parseClient } from '../../endpoint/client.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { ServerEndpoint } from '../../endpoint/model.ts';
import { parseServer } from '../../endpoint/server.ts';
import { readCheck } from '../check-http.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { readPair } from '../endpoint-text.ts';
import { hasDaemon, serviceDir } from '../hints.ts';
import { printJson, printLine, printNote } from '../output.ts';

/** `grace start [--name NAME] [--switch [--no-check]] [--check-http PATH[=STATUS]] [--admin ENDPOINT [--admin-token FILE]] SRC DST` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, self, cwd, stdout, isTTY } = context;
  const { src, dst } = readPair({ command: 'start', src: argument(input, 0), dst: argument(input, 1), cwd });
  const name = readName(input);
  const isSwitch = input.has('switch');
  if (input.has('no-check') && !isSwitch)
    throw new GraceError('--no-check is for --switch, and there is no --switch', { code: 'ERR_GRACE_USAGE' });
  const check = readCheck(input);
  const onNote = (note: string) => printNote(context, note);
  const given = absoluteOptions((option) => (startOptions.includes(option) ? input.value(option) : undefined), cwd);
  const settings = readSettings(given);
  if (settings['access-log'] === '-')
    throw new GraceError(
      '--access-log - is for a daemon in the foreground: one in the background has no standard output',
      {
        hint: 'name a file, or run it with: grace daemon --access-log -',
        code: 'ERR_GRACE_USAGE',
      },
    );
  const flags = wordsOfOptions(given);
  let isLaunched = false;
  const onLaunch = () => void (isLaunched = true);
  const beforeLaunch = () => {
    checkAdmin(settings);
    checkServer(parseServer(src.absolute), { text: src.typed, isServing: false });
    checkClient(parseClient(dst.absolute), { text: dst.typed });
  };
  const answer = startWithDaemon({
    dir,
    self,
    flags,
    onNote,
    beforeLaunch,
    onLaunch,
    request: {
      command: 'start',
      src: name === undefined ? src : { ...src, name },
      dst,
      ...(isSwitch ? { switch: true, check } : {}),
      ...(typeof check === 'object' ? { check } : {}),
    },
  });
  const {
    changed,
    notes,
    ofDestination = [],
  } = await answer.catch(async (error: unknown) => {
    if (isLaunched && (await servesRules(context)))
      onNote(`a daemon was started in the background all the same, and serves the rules that are kept in ${dir}`);
    throw error;
  });
  notes.forEach(onNote);
  if (!isLaunched && flags.length > 0) {
    const { options = {} } = await call(dir, { command: 'status' }, { signal: context.signal });
    const unheeded = startOptions.filter((option) => given(option) !== undefined && given(option) !== options[option]);
    const running = unheeded.map((option) =>
      options[option] === undefined ? `without --${option}` : `with --${option} ${options[option]}`,
    );
    if (running.length > 0)
      onNote(`the daemon runs already, ${running.join(', ')}: these are heeded when a daemon is started`);
  }
  // A script that starts the rule before the server knows; a person may have mistyped it.
  if (isTTY) ofDestination.forEach(onNote);
  if (input.has('json'))
    printJson(context, {
      src: src.typed,
      dst: dst.typed,
      ...(name === undefined ? {} : { name }),
      changed,
      notes: [...notes, ...ofDestination],
    });
  else printLine(stdout, 'Started');
  if (isLaunched && input.value('dir') === undefined && dir !== serviceDir && hasDaemon(serviceDir))
    onNote(`this is a daemon of its own, in ${dir}; the service's is another: grace -d ${serviceDir} …`);
  else if (isTTY && isLaunched) onNote(`a daemon was started in the background, with the state dir ${dir}`);
  if (isTTY && changed && listensEverywhere(parseServer(src.absolute))) {
    onNote(
      `${src.typed} takes connections from every network of this machine; add :interface=127.0.0.1 for this machine only`,
    );
  }
  return 0;
}

/** A daemon that was started for a rule that came to nothing ends, unless it has others. */
async function servesRules({ dir, signal }: Context): Promise<boolean> {
  try {
    return (await call(dir, { command: 'ls' }, { signal })).rows.length > 0;
  } catch {
    return false;
  }
}

function readName(input: Input): string | undefined {
  const name = input.value('name');
  if (name === undefined || isRuleName(name)) return name;
  throw new GraceError(
    `--name takes a word of letters, digits, ".", "-" and "_" that begins with a letter and is no type of endpoint, not ${quoted(name)}`,
    { code: 'ERR_GRACE_USAGE' },
  );
}

/** The default of `tcp` and `ssl`, which is easily meant otherwise; an address that was written was meant. */
function listensEverywhere(endpoint: ServerEndpoint): boolean {
  const inner = innerEndpoint(endpoint);
  return 'interface' in inner && inner.interface === '';
}
