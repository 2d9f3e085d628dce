import fs from 'node:fs';
import { GraceError } from '../error.ts';

/** Programs that run one child as process 1 of a container, and end when it does. */
const CONTAINER_INITS = new Set(['tini', 'tini-static', 'docker-init', 'podman-init', 'dumb-init', 'catatonit']);

/** What runs containers, and takes the end of the process that it started for the end of the container. */
const CONTAINER_RUNTIMES = /^(containerd-shim|conmon)/;

/**
 * Why this process cannot be replaced by another one: a container ends together with the process that it was
 * started for. A successor would be killed with it, and every connection. Null when nothing is in the way.
 */
export function findRestartObstacle({ pid, ppid }: { pid: number; ppid: number } = process): GraceError | null {
  const parent = ppid > 0 ? commandOf(ppid) : '';
  if (pid === 1 || CONTAINER_RUNTIMES.test(parent))
    return obstacle('this process is process 1 of a container, which ends with it');
  if (ppid === 1 && CONTAINER_INITS.has(parent))
    return obstacle(
      `this process is all that process 1 (${parent}) of a container waits for, and the container ends with it`,
    );
  return null;
}

function obstacle(why: string): GraceError {
  return new GraceError(
    `${why}: start a new container, or let \`grace daemon\` be its process 1 and forward to this server`,
    { code: 'ERR_GRACE_CONTAINER' },
  );
}

/** Name of the program that a process runs, 15 characters at most; empty where it is not to be had. */
function commandOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // no /proc on this system, or not for us
  }
}
