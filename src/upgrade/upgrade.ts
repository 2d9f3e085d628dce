/**
 * Replace the executable by another version and let the daemon be replaced by it. If the new one
 * does not come up, the old executable is put back and the old daemon has never stopped.
 */
import { call } from '../control/client.ts';
import type { Result } from '../control/messages.ts';
import type { Program, StatusResult } from '../control/shapes.ts';
import { GraceError, errorMessage } from '../error.ts';
import { isNoDaemon } from '../kinds.ts';
import { findStateDirs } from './daemons.ts';
import { checkVersion, claimExecutable } from './executable.ts';
import { fetchExecutable } from './release.ts';
import type { Release, ReleasePlace } from './release.ts';

/** What is installed, and which daemon follows. */
export type UpgradeOptions = {
  place: ReleasePlace;
  release: Release;
  /** State dir of the daemon to restart. */
  dir: string;
  /** How this executable was started. */
  self: Program;
  version: string;
  /** Time for the new daemon to come up. */
  timeoutMs: number;
  /** Ends the upgrade while nothing was changed; later it is not looked at. */
  signal: AbortSignal;
  /** Hears what happens next, and while something is downloaded how much of it has come, in bytes. */
  onStep: (step: string, progress?: { received: number; announced: number | null }) => void;
};

/** What was done. */
export type Upgraded = {
  /** The file that was replaced. */
  target: string;
  /** Null when no daemon ran in the state dir. */
  restarted: Result<'restart'> | null;
  /** The daemons of other state dirs that run the same executable, restarted too or not. */
  others: { dir: string; outcome: Result<'restart'> | GraceError }[];
};

/** Rejects with GraceError when it did not happen; everything then is as it was. */
export async function upgrade({
  place,
  release,
  dir,
  self,
  version,
  timeoutMs,
  signal,
  onStep,
}: UpgradeOptions): Promise<Upgraded> {
  const daemon = await findDaemon(dir, signal); // one that does not answer is better known before than after
  await using executable = await claimExecutable(self.file);
  const { target, newFile } = executable;
  const otherDirs = findStateDirs(target).filter((other) => other !== dir);
  onStep(`downloading grace ${release.version}`);
  const onBytes = (received: number, announced: number | null) =>
    onStep(`downloading grace ${release.version}`, { received, announced });
  await fetchExecutable(place, release, newFile, { signal, onBytes });
  onStep(`checking grace ${release.version}`);
  await checkVersion(newFile, release.version);
  signal.throwIfAborted();
  await executable.replace();
  const exec = { file: self.file, args: [...self.args] };
  const restartOthers = async () => {
    const others: Upgraded['others'] = [];
    for (const other of otherDirs) {
      onStep(`restarting the daemon of ${other}`);
      const outcome = await call(other, { command: 'restart', exec, timeoutMs }).catch((error: unknown) =>
        error instanceof GraceError ? error : new GraceError(errorMessage(error)),
      );
      // It has ended since it was found.
      if (!isNoDaemon(outcome)) others.push({ dir: other, outcome });
    }
    return others;
  };
  if (!daemon) return { target, restarted: null, others: await restartOthers() };
  onStep('restarting the daemon');
  try {
    const restarted = await call(dir, { command: 'restart', exec, timeoutMs });
    return { target, restarted, others: await restartOthers() };
  } catch (error) {
    await executable.putBack();
    if (isNoDaemon(error)) {
      throw new GraceError(`cannot upgrade to ${release.version}: the daemon ended meanwhile`, {
        hint: `${target} is ${version} again`,
        cause: error,
      });
    }
    throw new GraceError(
      `cannot upgrade to ${release.version}: ${errorMessage(error).replace(/^cannot restart: /, '')}`,
      {
        hint: `${target} is ${version} again, and the daemon goes on as before`,
        cause: error,
      },
    );
  }
}

async function findDaemon(dir: string, signal: AbortSignal): Promise<StatusResult | null> {
  try {
    return await call(dir, { command: 'status' }, { signal });
  } catch (error) {
    if (isNoDaemon(error)) return null;
    throw error;
  }
}
