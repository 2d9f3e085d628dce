import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { call } from '../control/client.ts';
import { standardError } from '../control/log-place.ts';
import { statePaths } from '../control/paths.ts';
import { GraceError } from '../error.ts';
import { isNoDaemon } from '../kinds.ts';
import type { Context } from './context.ts';

/** Where the lines of a log are to be had. */
export type LogPlace =
  | { kind: 'file'; path: string; /** A daemon runs that writes it. */ isInUse: boolean }
  | { kind: 'journal'; unit: string; ofUser: boolean };

/**
 * The log of the daemon that runs, or of the last one in the background. Throws GraceError where the
 * daemon's standard error leads to somebody who keeps it elsewhere.
 */
export async function findLog({ dir, signal }: Context): Promise<LogPlace> {
  const usual: LogPlace = { kind: 'file', path: statePaths(dir).log, isInUse: false };
  try {
    const { log, pid } = await call(dir, { command: 'status' }, { signal });
    // A daemon of a version that does not say has its log where it always was.
    if (log === undefined) return { ...usual, isInUse: true };
    return log === standardError ? behindStandardError(pid, dir) : { kind: 'file', path: log, isInUse: true };
  } catch (error) {
    if (isNoDaemon(error)) return usual;
    throw error;
  }
}

function behindStandardError(pid: number, dir: string): LogPlace {
  const target = readOrNull(() => readlinkSync(`/proc/${pid}/fd/2`));
  if (target?.startsWith('/') && readOrNull(() => statSync(target).isFile()))
    return { kind: 'file', path: target, isInUse: true };
  const unit = target?.startsWith('socket:') ? unitOf(pid) : null;
  if (unit !== null) return unit;
  const where = target?.startsWith('/dev/')
    ? `, the terminal ${target}`
    : target === null
      ? ''
      : ', read by whoever started it';
  throw new GraceError(`the daemon in ${dir} (pid ${pid}) logs to its standard error${where}`, {
    hint: 'in a container: docker logs; under supervisord, runit and the like: their log of it; --log FILE of grace daemon makes it a file',
  });
}

/** The systemd unit of a process, by its cgroup (systemd.unit names its cgroup after itself). */
function unitOf(pid: number): LogPlace | null {
  const path = readOrNull(() => readFileSync(`/proc/${pid}/cgroup`, 'utf8'))
    ?.split('\n')
    .find((line) => /\.service(\/|$)/.test(line));
  const units = path?.split('/').filter((part) => part.endsWith('.service')) ?? [];
  const unit = units.at(-1);
  if (unit === undefined || /^user@[0-9]+\.service$/.test(unit)) return null;
  return { kind: 'journal', unit, ofUser: units.some((each) => /^user@[0-9]+\.service$/.test(each)) };
}

function readOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null; // it has ended, or is another user's
  }
}
