import fs from 'node:fs';
import { GraceError } from '../error.ts';

/** Programs that run one child as process 1 of a container, and end when it does. */
const CONTAINER_INITS = new Set(['tini', 'tini-static', 'docker-init', 'podman-init', 'dumb-init', 'catatonit']);

/** What starts the script of a package, waits for it and ends with it: by its title, or the file that it runs. */
const SCRIPT_RUNNERS = /^(npm|yarn|pnpm)( |$)|[/](npm|yarn|pnpm)(-cli)?(\.[cm]?js)?$/;
const SHELLS = /(^|[/])(sh|dash|ash|bash|busybox)$/;

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
  const first = commandOf(1);
  if ((ppid === 1 && CONTAINER_INITS.has(first)) || isAllThatWaits(ppid, first))
    return obstacle(
      `this process is all that process 1 (${first}) of a container waits for, and the container ends with it`,
    );
  return null;
}

/** Whether process 1 and all that is between it and this process end as soon as this one does, as with `CMD npm start`. */
function isAllThatWaits(ppid: number, first: string): boolean {
  for (let pid = ppid; pid > 0; pid = parentOf(pid)) {
    if (pid === 1 && CONTAINER_INITS.has(first)) return true;
    const [program = '', ...args] = argumentsOf(pid);
    const waits = SHELLS.test(program)
      ? args.some((arg) => /^-[a-z]*c$/.test(arg))
      : [program, args[0] ?? ''].some((text) => SCRIPT_RUNNERS.test(text));
    if (!waits) return false;
    if (pid === 1) return true;
  }
  return false;
}

function obstacle(why: string): GraceError {
  return new GraceError(
    `${why}: start a new container, or let \`grace daemon\` be its process 1 and forward to this server`,
    { code: 'ERR_GRACE_CONTAINER' },
  );
}

function argumentsOf(pid: number): string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // no /proc on this system, or not for us
  }
}

/** 0 where it is not to be had. */
function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s*([0-9]+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // it has just ended
  }
}

/** Name of the program that a process runs, 15 characters at most; empty where it is not to be had. */
function commandOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // no /proc on this system, or not for us
  }
}
