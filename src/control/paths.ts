import { join } from 'node:path';

/** The files of a state dir. All are private to the user who runs the daemon (dir 0700, socket 0600). */
export type StatePaths = {
  dir: string;
  /** The pid to watch and to signal, and a newline. */
  pid: string;
  /** Control socket of the daemon that serves. */
  socket: string;
  log: string;
  /** The rules, as JSON. */
  state: string;
  /** 50 while every rule is served, 0 while not: for keepalived's vrrp_track_file and the like. */
  ready: string;
  /** What the rules have counted, as JSON. */
  counters: string;
  /** Where the services of DNS that rules lead to were, as JSON. */
  services: string;
  /** Held by the daemon that serves, with flock(2). */
  lock: string;
  /** Held by a client while it starts a daemon, so that two at once do not start two. */
  launchLock: string;
  /** Control socket of one generation, which it keeps when a successor takes over `socket`. */
  generationSocket(pid: number): string;
};

/** The files of a state dir; none need exist. */
export function statePaths(dir: string): StatePaths {
  return {
    dir,
    pid: join(dir, 'grace.pid'),
    socket: join(dir, 'grace.sock'),
    log: join(dir, 'grace.log'),
    state: join(dir, 'state.json'),
    ready: join(dir, 'ready'),
    counters: join(dir, 'counters.json'),
    services: join(dir, 'services.json'),
    lock: join(dir, 'grace.lock'),
    launchLock: join(dir, 'start.lock'),
    generationSocket: (pid) => join(dir, `grace-${pid}.sock`),
  };
}

/** The pid in the name of a generation's control socket, or null for any other file name. */
export function generationPid(fileName: string): number | null {
  const match = /^grace-([0-9]+)\.sock$/.exec(fileName);
  return match ? Number(match[1]) : null;
}
