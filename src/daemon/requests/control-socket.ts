import { linkSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { shareSocket } from './access.ts';
import { generationPid } from '../../control/paths.ts';
import type { StatePaths } from '../../control/paths.ts';
import { serveControl } from '../../control/server.ts';
import type { ControlServer, RequestHandler } from '../../control/server.ts';
import { GraceError } from '../../error.ts';
import { describeError } from '../../sys/system-error.ts';
import type { Listener } from '../../net/listener.ts';
import { openListener } from '../../net/open.ts';
import { probeSocket } from '../../net/unix-path.ts';

/** The control server of this process, and its names in the state dir. */
export type ControlSocket = ControlServer & {
  readonly fd: number;
  /** Become the one that clients reach at grace.sock. Atomic: a client reaches either the one before or this. */
  takeOver(): void;
  /** Remove this process's names of the socket; a successor's is left alone. */
  removeNames(): void;
};

/** What a control socket is opened with. */
export type ControlSocketOptions = {
  paths: StatePaths;
  /** Whose members may connect; null: nobody but this user and root. */
  group: number | null;
  /** The socket of a daemon that crashed; requests wait in its queue. Closed here, as if it was opened here. */
  stored: Listener | null;
  handle: RequestHandler;
  onError: (error: unknown) => void;
};

/**
 * Serve the control protocol. The socket is bound under the generation's own name, which it keeps
 * for as long as the process lives; the public name grace.sock is a second link to it.
 */
export async function openControlSocket({
  paths,
  group,
  stored,
  handle,
  onError,
}: ControlSocketOptions): Promise<ControlSocket> {
  const own = paths.generationSocket(process.pid);
  let listener: Listener;
  try {
    rmSync(own, { force: true }); // of a process that had this pid and crashed
    listener =
      (stored && adoptNames(stored, { paths, own })) ??
      (await openListener(
        { kind: 'unix', path: own, mode: 0o600, backlog: 511, lockfile: false },
        { name: 'control' },
      ));
    shareSocket(own, group);
  } catch (error) {
    // Clients of the daemon that crashed are answered all the same, and forwarding goes on in any case.
    if (!stored?.isOpen) throw failureOf(error, own);
    // The state dir takes no new name (it is read-only, or full): the socket has the public one still, and keeps it.
    return Object.assign(await serve(stored, { handle, onError }), { takeOver() {}, removeNames() {} });
  }
  const served = await serve(listener, { handle, onError });
  const { ino } = statSync(own);
  return Object.assign(served, {
    takeOver() {
      const link = `${paths.socket}.${process.pid}`;
      try {
        rmSync(link, { force: true });
        linkSync(own, link);
        renameSync(link, paths.socket);
      } catch (error) {
        throw failureOf(error, paths.socket);
      } finally {
        rmSync(link, { force: true }); // rename(2) leaves it when both are names of the same socket
      }
    },
    removeNames() {
      if (inodeAt(paths.socket) === ino) rmSync(paths.socket, { force: true });
      rmSync(own, { force: true });
    },
  });
}

/** Why a name of the control socket could not be made, for people. A container runtime makes directories of what it is to mount and is not there. */
function failureOf(error: unknown, path: string): unknown {
  if (error instanceof GraceError) return error;
  const isDirectory = lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  return new GraceError(
    `cannot make the control socket ${path}: ${isDirectory ? 'a directory is there' : describeError(error)}`,
    { hint: isDirectory ? `remove it: rmdir ${path}` : undefined, cause: error },
  );
}

type Served = Omit<ControlSocket, 'takeOver' | 'removeNames'>;

async function serve(
  listener: Listener,
  { handle, onError }: Pick<ControlSocketOptions, 'handle' | 'onError'>,
): Promise<Served> {
  const server = await serveControl(listener, handle, onError);
  return {
    fd: listener.fd,
    get pending() {
      return server.pending;
    },
    idle: () => server.idle(),
    close() {
      server.close();
      listener.close();
    },
  };
}

/**
 * Give the socket of a daemon that crashed this generation's name, in place of that one's. Null when it has no name left:
 * a later daemon may have had the public one, whose socket nobody has stored; nobody listens there then.
 */
function adoptNames(stored: Listener, { paths, own }: { paths: StatePaths; own: string }): Listener | null {
  const stat = lstatSync(paths.socket, { throwIfNoEntry: false });
  if (!stat?.isSocket() || probeSocket(paths.socket) === 'stale') {
    stored.close();
    return null;
  }
  linkSync(paths.socket, own);
  for (const name of readdirSync(paths.dir)) {
    const path = join(paths.dir, name);
    if (generationPid(name) !== null && path !== own && inodeAt(path) === stat.ino) rmSync(path, { force: true });
  }
  return stored;
}

function inodeAt(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
