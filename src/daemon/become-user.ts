/**
 * `grace daemon --user`: root opens the ports that only root may open, and becomes that user for good, before there
 * is a keeper or a daemon. It executes itself again, so that nothing of what root had in memory or open is left; what
 * comes after, restarts and crashes included, is a daemon of that user who was given some sockets.
 */
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { DaemonSettings } from '../control/daemon-options.ts';
import type { GivenRule } from '../control/given-rules.ts';
import { statePaths } from '../control/paths.ts';
import { makeStateDir } from '../control/state-dir.ts';
import type { Program } from '../control/shapes.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError, errorMessage } from '../error.ts';
import { splitAtNul } from '../given-names.ts';
import { openedEnvironment } from '../keeper/opened.ts';
import { openListener } from '../net/open.ts';
import type { ListenSpec } from '../net/open.ts';
import type { Listener } from '../net/listener.ts';
import { actAs, becomeForGood, takeGroups } from '../sys/credentials.ts';
import { inheritedFds, setCloseOnExec } from '../sys/descriptor.ts';
import { environmentList, execute } from '../sys/exec.ts';
import { hasLinuxCalls } from '../sys/process.ts';
import { describeError } from '../sys/system-error.ts';
import type { User } from '../sys/user.ts';
import { listenerName } from './listeners/name.ts';
import { listenSpec, plain } from './listeners/spec.ts';
import { readSource } from './rules/specs.ts';
import { loadState } from './state/rules-file.ts';

/** How the daemon is started, as far as this is about it. */
export type BecomeUserOptions = {
  dir: string;
  /** The rules of the command line; those of the state dir are read. */
  rules: readonly GivenRule[];
  settings: Pick<DaemonSettings, 'user' | 'group'>;
  self: Program;
  env: NodeJS.ProcessEnv;
  /** Hears what does not keep the daemon from starting: a line each. */
  onNote: (note: string) => void;
};

/**
 * Be the user of `--user`. Returns when this process is that user, or nobody was named; else it goes on in
 * another image of the same process. Throws GraceError when that cannot be.
 */
export async function becomeUser({ dir, rules, settings, self, env, onNote }: BecomeUserOptions): Promise<void> {
  const { user, group } = settings;
  if (user === null) {
    if (group === null) return;
    throw new GraceError('--group is for a daemon that goes on as another user', {
      hint: 'name that one: --user USER',
      code: 'ERR_GRACE_USAGE',
    });
  }
  if (!hasLinuxCalls) throw new GraceError('--user needs Linux', { code: 'ERR_GRACE_USAGE' });
  const now = process.geteuid?.();
  if (now === user.uid) return;
  const title = titleOf(user);
  if (now !== 0)
    throw new GraceError(`cannot go on as ${title}: only root may, and this is the user with id ${now}`, {
      hint: 'start it as root, or as that user and without --user',
    });
  const passed = inheritedFds();
  const gid = group ?? user.known?.gid;
  if (gid === undefined)
    throw new GraceError(`${title} is not known to this machine, and so is no group of that user`, {
      hint: 'name one: --group GROUP',
      code: 'ERR_GRACE_USAGE',
    });
  try {
    takeGroups({ gid, name: user.known?.name ?? null });
    actAs(user.uid);
  } catch (error) {
    throw new GraceError(`cannot go on as ${title}: ${describeError(error)}`, {
      hint: 'it takes CAP_SETUID and CAP_SETGID, which a container may not have',
      cause: error,
    });
  }
  // What lies in a directory of the user is looked at with the user's rights: a link there must not lead root anywhere.
  await prepareDir(dir, { user, gid, title });
  const sources = lowSources(dir, rules, onNote);
  actAs(0);
  const opened = await openAll(sources, onNote);
  becomeForGood(user.uid);
  goOn({ self, passed, opened, env: environmentOf(user, { dir, env }), title });
}

function titleOf({ uid, known }: User): string {
  return known === null ? `the user with id ${uid}` : `the user ${quoted(known.name)}`;
}

/** As the user where the user may; in a directory that is root's alone, root makes it, and gives it away. */
async function prepareDir(
  dir: string,
  { user, gid, title }: { user: User; gid: number; title: string },
): Promise<void> {
  if (lstatSync(dir, { throwIfNoEntry: false }) === undefined && isRootsAlone(dirname(resolve(dir)))) {
    actAs(0);
    try {
      giveDir(dir, { uid: user.uid, gid });
    } catch (error) {
      throw new GraceError(`cannot make the state dir ${dir}: ${describeError(error)}`, { cause: error });
    } finally {
      actAs(user.uid);
    }
  }
  makeStateDir(dir);
  const { uid } = statSync(dir);
  if (uid !== user.uid)
    throw new GraceError(
      `cannot use the state dir ${dir}: it belongs to the user with id ${uid}, and not to ${title}`,
      {
        hint: `give it away: chown -R ${user.known?.name ?? user.uid} ${dir}; or choose another with -d DIR`,
      },
    );
}

/** Nobody else could put something in the way of what root does there. */
function isRootsAlone(dir: string): boolean {
  for (let at = dir; ; at = dirname(at)) {
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (!stat?.isDirectory() || stat.uid !== 0 || (stat.mode & 0o022) !== 0) return false;
    if (dirname(at) === at) return true;
  }
}

function giveDir(dir: string, { uid, gid }: { uid: number; gid: number }): void {
  mkdirSync(dir, { mode: 0o700 });
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    if (fstatSync(fd).uid === 0) fchownSync(fd, uid, gid);
  } finally {
    closeSync(fd);
  }
}

type LowSource = { name: string; typed: string; spec: ListenSpec };

/** The sources of the daemon whose ports only root may open. What cannot be read is for the daemon to tell. */
function lowSources(dir: string, given: readonly GivenRule[], onNote: (note: string) => void): LowSource[] {
  const first = firstOpenPort();
  const found = new Map<string, LowSource>();
  for (const { src } of [...given, ...storedRules(dir, onNote)]) {
    try {
      const source = readSource(src);
      const endpoint = plain(source.endpoint);
      if (endpoint.type === 'systemd' || endpoint.type === 'fd') continue;
      const spec = listenSpec(endpoint);
      if (spec.kind !== 'tcp' || spec.port === 0 || spec.port >= first || found.has(source.listenKey)) continue;
      found.set(source.listenKey, { name: listenerName(source), typed: source.typed, spec });
    } catch {
      // No source that this version serves.
    }
  }
  return [...found.values()];
}

function storedRules(dir: string, onNote: (note: string) => void): readonly GivenRule[] {
  try {
    const { rules, note } = loadState(statePaths(dir).state);
    if (note !== null) onNote(note);
    return rules;
  } catch {
    return []; // the daemon reads it again, and says why not
  }
}

function firstOpenPort(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
  } catch {
    return 1024;
  }
}

async function openAll(sources: readonly LowSource[], onNote: (note: string) => void): Promise<Listener[]> {
  const opened: Listener[] = [];
  for (const { name, typed, spec } of sources) {
    try {
      opened.push(await openListener(spec, { name }));
    } catch (error) {
      const hint = error instanceof GraceError && error.hint !== undefined ? ` (${error.hint})` : '';
      onNote(`${typed} is not served until the daemon is stopped and started again: ${errorMessage(error)}${hint}`);
    }
  }
  return opened;
}

/** As login(1) sets it up; a state dir that was not named is that of whoever started this. */
function environmentOf({ known }: User, { dir, env }: { dir: string; env: NodeJS.ProcessEnv }): NodeJS.ProcessEnv {
  return {
    ...env,
    GRACE_DIR: dir,
    ...(known === null ? {} : { HOME: known.home, USER: known.name, LOGNAME: known.name }),
  };
}

type GoOnOptions = {
  self: Program;
  /** What this process was started with, which stays. */
  passed: readonly number[];
  opened: readonly Listener[];
  env: NodeJS.ProcessEnv;
  title: string;
};

function goOn({ self, passed, opened, env, title }: GoOnOptions): never {
  try {
    for (const fd of [...passed, ...opened.map((listener) => listener.fd)]) setCloseOnExec(fd, false);
    execute(
      self.file,
      splitAtNul(readFileSync('/proc/self/cmdline')),
      environmentList({ ...env, ...openedEnvironment(opened) }),
    );
  } catch (error) {
    throw new GraceError(`cannot go on as ${title}: ${self.file} cannot be executed: ${describeError(error)}`, {
      hint: 'the executable must be where that user may read and execute it, for restarts too',
      cause: error,
    });
  }
}
