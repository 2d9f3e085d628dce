import { linkSync, renameSync, rmSync, statSync } from 'node:fs';
import type { StatePaths } from '../control/paths.ts';
import { serveControl } from '../control/server.ts';
import type { ControlServer, RequestHandler } from '../control/server.ts';
import { openListener } from '../net/open.ts';

export type ControlSocket = ControlServer & {
  /** Become the one that clients reach at grace.sock. Atomic: a client reaches either the one before or this. */
  takeOver(): void;
  /** Remove this process's names of the socket; a successor's is left alone. */
  removeNames(): void;
};

/**
 * Serve the control protocol. The socket is bound under the generation's own name, which it keeps
 * for as long as the process lives; the public name grace.sock is a second link to it.
 */
export async function openControlSocket(paths: StatePaths, handle: RequestHandler, onError: (error: unknown) => void): Promise<ControlSocket> {
  const own = paths.generationSocket(process.pid);
  rmSync(own, { force: true }); // of a process that had this pid and crashed
  const listener = await openListener({ kind: 'unix', path: own, mode: 0o600, backlog: 511, lockfile: false }, { name: 'control' });
  const server = await serveControl(listener, handle, onError);
  const { ino } = statSync(own);
  return {
    get pending() {
      return server.pending;
    },
    idle: () => server.idle(),
    close() {
      server.close();
      listener.close();
    },
    takeOver() {
      const link = `${paths.socket}.${process.pid}`;
      rmSync(link, { force: true });
      linkSync(own, link);
      renameSync(link, paths.socket);
    },
    removeNames() {
      if (inodeAt(paths.socket) === ino) rmSync(paths.socket, { force: true });
      rmSync(own, { force: true });
    },
  };
}

function inodeAt(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
