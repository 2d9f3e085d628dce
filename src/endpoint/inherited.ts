/**
 * What an endpoint can know of inherited sockets without touching them: the variables of systemd's
 * protocol (sd_listen_fds(3)) and whether a descriptor is a socket.
 */
import { statSync } from 'node:fs';
import { EndpointError, quoted } from './error.ts';
import type { FdServer, SystemdServer } from './model.ts';

/** As `process.env`: LISTEN_FDS and its companions are read from it. */
export type ReadonlyEnvironment = Readonly<Record<string, string | undefined>>;

/** What an error names, and where inherited sockets are looked up. */
export type InheritedOptions = {
  /** The endpoint as the user typed it, for messages. */
  text: string;
  env: ReadonlyEnvironment;
  /** The process that LISTEN_PID must name; null when it does not matter who was meant. */
  pid: number | null;
  /** Whether missing variables are an error. They are not when another process is going to serve. */
  mustBeAnnounced: boolean;
};

/** Throws EndpointError when the endpoint's socket is not among those that the environment announces. */
export function checkAnnounced(endpoint: SystemdServer, { text, env, pid, mustBeAnnounced }: InheritedOptions): void {
  const { LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES } = env;
  if (LISTEN_FDS === undefined && !mustBeAnnounced) return;
  const isForOther = pid !== null && LISTEN_PID !== `${pid}`;
  const count = isForOther || !/^[0-9]+$/.test(LISTEN_FDS ?? '') ? 0 : Number(LISTEN_FDS);
  const were = `${count} ${count === 1 ? 'socket was' : 'sockets were'} inherited`;
  const hint =
    count === 0 ? 'sockets are inherited when systemd (or systemd-socket-activate) starts the process' : undefined;

  if (endpoint.index !== null && endpoint.index >= count) {
    throw new EndpointError(`no such descriptor: index ${endpoint.index}, and ${were}`, { text, hint });
  }
  if (endpoint.name === null) return;
  const names = LISTEN_FDNAMES?.split(':') ?? [];
  if (names.length !== count) {
    // Names that do not match the sockets one by one tell nothing.
    throw new EndpointError(`no such descriptor: name ${quoted(endpoint.name)}, and ${were} without names`, {
      text,
      hint,
    });
  }
  if (!names.includes(endpoint.name)) {
    throw new EndpointError(`no such descriptor: name ${quoted(endpoint.name)}, and ${were}: ${names.join(', ')}`, {
      text,
      hint,
    });
  }
}

/** Throws EndpointError when this process has no socket under the number. */
export function checkDescriptor({ fd }: FdServer, { text }: { text: string }): void {
  const directory = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd';
  let isSocket: boolean;
  try {
    // By its path and not by fstat: Deno's fstatSync knows only the files that it opened itself.
    isSocket = statSync(`${directory}/${fd}`).isSocket();
  } catch {
    isSocket = false;
  }
  if (isSocket) return;
  throw new EndpointError(`no such descriptor: ${fd} is not a socket that this process inherited`, { text });
}
