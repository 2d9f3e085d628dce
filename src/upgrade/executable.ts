/** The executable on disk: replaced in one step, and put back in one step. */
import { execFile } from 'node:child_process';
import {
  access,
  chmod,
  chown,
  constants,
  copyFile,
  link,
  mkdtemp,
  open,
  readdir,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { GraceError, errorCode, errorMessage } from '../error.ts';
import { lockPrivately } from '../sys/private-lock.ts';
import { describeError } from '../sys/system-error.ts';

const run = promisify(execFile);
const workPrefix = '.grace-upgrade-';

/** How long a new executable may take to say its version. */
const versionTimeoutMs = 20_000;

/** Disposing of it removes what was written and not put in place. */
export type ExecutablePlace = AsyncDisposable & {
  /** The file itself, behind any symbolic links. */
  readonly target: string;
  /** Where the new executable is to be written before `replace`; on the same file system. */
  readonly newFile: string;
  /** Put the new executable in the place of the old one, which is kept until disposal. */
  replace(): Promise<void>;
  /** Undo `replace`. */
  putBack(): Promise<void>;
};

/**
 * Claim the place of an executable: of several upgrades at once, one. Symbolic links stay, what they
 * lead to is replaced. Disposal removes whatever is left beside it.
 *
 * Rejects with GraceError when it cannot be replaced by this user, before anything was done.
 */
export async function claimExecutable(file: string): Promise<ExecutablePlace> {
  const target = await findTarget(file);
  const directory = dirname(target);
  const cannot = (error: unknown) => {
    const isDenied = ['EACCES', 'EPERM', 'EROFS'].includes(errorCode(error) ?? '');
    return new GraceError(`cannot replace ${target}: ${describeError(error)}`, {
      hint: isDenied ? `run it as a user who may write to ${directory}` : undefined,
      cause: error,
    });
  };
  // One for the directory: it does not depend on which file is the executable.
  const lock = lockPrivately(join(directory, '.grace-upgrade.lock'));
  if (lock === 'held') throw new GraceError(`cannot replace ${target}: another upgrade is at it`);
  let work: string;
  try {
    await access(directory, constants.W_OK);
    await removeLeftovers(directory);
    work = await mkdtemp(join(directory, workPrefix));
  } catch (error) {
    lock?.release();
    throw cannot(error);
  }
  const newFile = join(work, 'grace');
  const oldFile = join(work, 'old');
  return {
    target,
    newFile,
    async replace() {
      try {
        await keepMode(target, newFile);
        await link(target, oldFile).catch(() => copyFile(target, oldFile)); // a file system without hard links
        await rename(newFile, target);
        await syncDirectory(directory);
      } catch (error) {
        throw cannot(error);
      }
    },
    async putBack() {
      await rename(oldFile, target);
      await syncDirectory(directory);
    },
    async [Symbol.asyncDispose]() {
      await rm(work, { recursive: true, force: true });
      lock?.release();
    },
  };
}

/** Run a new executable for its version. Rejects with GraceError when it does not run here, or is another one. */
export async function checkVersion(file: string, version: string): Promise<void> {
  await chmod(file, 0o755);
  try {
    const { stdout } = await run(file, ['--version'], { timeout: versionTimeoutMs, killSignal: 'SIGKILL' });
    const [firstLine = ''] = stdout.split('\n');
    if (firstLine !== `grace ${version}`) throw new Error(`it says that it is "${firstLine.slice(0, 80)}"`);
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new GraceError(
      `cannot upgrade to ${version}: the new executable does not run here: ${stderr?.trim().split('\n')[0] || errorMessage(error)}`,
      { hint: 'nothing was changed', cause: error },
    );
  }
}

async function findTarget(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (error) {
    throw new GraceError(`cannot find the executable ${file} to replace it: ${describeError(error)}`, {
      hint: 'run the upgrade with the path of an installed grace',
      cause: error,
    });
  }
}

/** What an upgrade that was killed left; the lock says that none is at work. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith(workPrefix)) await rm(join(directory, name), { recursive: true, force: true });
  }
}

async function keepMode(from: string, to: string): Promise<void> {
  const { mode, uid, gid } = await stat(from);
  const own = await stat(to);
  // Who is not root replaces only what is theirs, or makes it theirs.
  if (own.uid !== uid || own.gid !== gid) await chown(to, uid, gid).catch(() => {});
  await chmod(to, mode & 0o7777);
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory);
  await handle.sync().catch(() => {}); // not every file system can; the rename is done either way
}
