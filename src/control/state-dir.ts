/** The directory of a daemon: made for one user alone, and not used when others could put their files in it. */
import { chmodSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { GraceError, errorCode } from '../error.ts';
import { isRawName } from '../sys/file-name.ts';
import { UNIX_PATH_MAX } from '../sys/sockaddr.ts';
import { describeError } from '../sys/system-error.ts';
import { statePaths } from './paths.ts';

const hint = 'choose another with -d DIR';

/**
 * Make the state dir, and those above it, with mode 0700. One that is there already must belong to this
 * user or to root, and be writable for nobody else, who could put links in the place of its files; an
 * empty one of this user is closed to others instead. Throws GraceError when it cannot be used.
 */
export function makeStateDir(dir: string): void {
  checkLength(dir);
  // Node and Deno connect to a Unix socket by a text.
  if (isRawName(dir) || dir.includes('\uFFFD'))
    throw new GraceError(`cannot use the state dir ${dir}: its name is not UTF-8`, { hint });
  try {
    makeDirs(dir);
  } catch (error) {
    throw new GraceError(`cannot make the state dir ${dir}: ${whyNotMade(dir, error)}`, { hint, cause: error });
  }
  checkOwner(dir);
}

/** mkdir(2) from the top; Node's own way of doing that never ends below /proc (seen in 26.10). */
function makeDirs(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })) return;
  if (dirname(dir) !== dir) makeDirs(dirname(dir));
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error; // another client was faster
  }
}

function whyNotMade(dir: string, error: unknown): string {
  const code = errorCode(error);
  // The system does not say which part of the path is meant.
  if (code === 'ENOTDIR') return `${firstThatIs(dir, (stat) => !stat.isDirectory()) ?? dir} is not a directory`;
  if (code === 'ENOENT')
    return `nothing can be made in ${firstThatIs(dirname(dir), (stat) => stat.isDirectory()) ?? '/'} (ENOENT)`;
  return describeError(error);
}

/** The nearest directory or file of a path, from its end, of which something is so. */
function firstThatIs(path: string, isSo: (stat: Stats) => boolean): string | null {
  for (let at = path; ; at = dirname(at)) {
    try {
      if (isSo(statSync(at))) return at;
    } catch {
      // Not there.
    }
    if (dirname(at) === at) return null;
  }
}

function checkOwner(dir: string): void {
  const stat = statSync(dir, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new GraceError(
      `cannot use the state dir ${dir}: ${lstatSync(dir, { throwIfNoEntry: false }) ? 'it is a link that leads nowhere' : 'it was removed'}`,
      { hint },
    );
  if (!stat.isDirectory()) throw new GraceError(`cannot use the state dir ${dir}: it is not a directory`, { hint });
  const user = process.geteuid?.();
  if (user !== undefined && stat.uid !== user && stat.uid !== 0) {
    throw new GraceError(
      `cannot use the state dir ${dir}: it belongs to the user with id ${stat.uid}, and this is the one with id ${user}`,
      {
        hint: 'run grace as that user, or choose another state dir with -d DIR',
      },
    );
  }
  if ((stat.mode & 0o022) === 0) return;
  if (stat.uid === user && readdirSync(dir).length === 0) return chmodSync(dir, 0o700);
  throw new GraceError(
    `cannot use the state dir ${dir}: others may write in it (mode ${(stat.mode & 0o7777).toString(8)})`,
    {
      hint: `if nobody else needs it: chmod 700 ${dir}; or ${hint}`,
    },
  );
}

const maxPid = 4_194_304;

function checkLength(dir: string): void {
  const { socket, generationSocket } = statePaths(dir);
  const length = Math.max(Buffer.byteLength(socket), Buffer.byteLength(generationSocket(maxPid)));
  if (length <= UNIX_PATH_MAX) return;
  throw new GraceError(
    `the path of the state dir ${dir} is too long: its control socket would have ${length} bytes, ${UNIX_PATH_MAX} are the most`,
    { hint: 'choose a shorter one with -d DIR' },
  );
}
