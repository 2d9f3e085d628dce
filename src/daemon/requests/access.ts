/** Who may command a daemon: its own user and root, and with `--socket-group` the members of a group. */
import { chmodSync, chownSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { Command, Request } from '../../control/messages.ts';
import type { Program } from '../../control/shapes.ts';
import type { Peer } from '../../control/server.ts';
import { GraceError, errorCode } from '../../error.ts';
import { lowPortHint } from '../../net/open.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import { describeError } from '../../sys/system-error.ts';

/** Throws GraceError where it cannot be told who asks. */
export function mustTellPeers(group: number | null): void {
  if (group === null || (hasLinuxCalls && !('Deno' in globalThis))) return;
  throw new GraceError(
    '--socket-group needs Linux and the executable: elsewhere it cannot be told who commands the daemon',
    { code: 'ERR_GRACE_USAGE' },
  );
}

const ofOwner = 0o700;
const ofGroup = 0o710;

/**
 * Let the members of a group pass through the state dir, where they can list nothing; without a group, close a
 * dir that was opened in that way. Throws GraceError when that is not this user's to do.
 */
export function shareStateDir(dir: string, group: number | null): void {
  if (group !== null) return share(dir, group, ofGroup);
  try {
    const { mode, uid } = statSync(dir);
    if ((mode & 0o777) === ofGroup && uid === process.geteuid?.()) chmodSync(dir, ofOwner);
  } catch {
    // It is gone, or read-only: the socket itself lets nobody in.
  }
}

/** Let the members of a group connect to the control socket. Throws GraceError when that is not this user's to do. */
export function shareSocket(path: string, group: number | null): void {
  if (group !== null) share(path, group, 0o660);
}

function share(path: string, group: number, mode: number): void {
  try {
    chownSync(path, -1, group);
    chmodSync(path, mode);
  } catch (error) {
    throw new GraceError(`cannot give ${path} to the group ${group} (--socket-group): ${describeError(error)}`, {
      hint:
        errorCode(error) === 'EPERM'
          ? 'the user that the daemon runs as must be a member of that group, or root'
          : undefined,
      cause: error,
    });
  }
}

/** A request as far as this is about it. */
type Asked = { command: Command; exec?: Program };

/** What only processes of the daemon ask of one another. */
const ofProcesses: readonly string[] = [
  'keeper',
  'generation-stop',
  'generation-close',
  'generation-drain',
  'generation-hold',
];

/** The daemon as far as this is about it. */
type Commanded = { self: Program; socketGroup: number | null };

/**
 * Throws GraceError when a request is not one for whoever asks. Members of the group may do everything with
 * rules, stop the daemon, and restart it with the executable that it runs; only its own user and root may have
 * it execute another program, or speak to it as its keeper and as another generation do.
 */
export function mustBeAllowed(request: Asked, peer: Peer | null, { self, socketGroup }: Commanded): void {
  if (isOwner(peer, socketGroup)) return;
  const refused = (what: string) =>
    new GraceError(
      `${what} is for root and the daemon's own user alone, not for ${peer === null ? 'a user whom the system does not tell' : `the user with id ${peer.uid}`}`,
      { hint: 'what members of its group may do is in the manual, under "--socket-group"' },
    );
  if (ofProcesses.includes(request.command)) throw refused(`the request "${request.command}"`);
  if (request.command === 'restart' && request.exec && !isSameFile(request.exec.file, self.file))
    throw refused(`a restart with another executable than ${self.file}`);
}

/** What the daemon is restarted with: its own way of starting when a member of the group asks. */
export function executableFor(
  request: Request<'restart'>,
  peer: Peer | null,
  { self, socketGroup }: Commanded,
): Program {
  return isOwner(peer, socketGroup) ? request.exec : self;
}

/** Where no group may connect, the mode of the socket lets in root and the daemon's own user alone, whatever the system tells. */
function isOwner(peer: Peer | null, socketGroup: number | null): boolean {
  return peer === null ? socketGroup === null : peer.uid === 0 || peer.uid === process.geteuid?.();
}

function isSameFile(a: string, b: string): boolean {
  try {
    const [of, other] = [statSync(a), statSync(b)];
    return of.dev === other.dev && of.ino === other.ino;
  } catch {
    return false;
  }
}

/** An error that says permission denied, for a client who may have it: with who has not. */
export function withUser(error: unknown, peer: Peer | null): unknown {
  const uid = process.geteuid?.();
  if (
    !(error instanceof GraceError) ||
    (error.hint !== undefined && error.hint !== lowPortHint) ||
    peer === null ||
    peer.uid === uid ||
    uid === undefined
  )
    return error;
  if (!/\((EACCES|EPERM)\)|permission denied/i.test(error.message)) return error;
  if (error.hint === lowPortHint)
    return new GraceError(error.message, {
      hint: `the daemon runs as the user ${nameOf(uid)}, who may not; started by root as \`grace daemon --user ${uid} SRC=DST\`, with this rule, it opens the port first`,
      code: error.code,
      cause: error,
    });
  const runtimeDir = process.env['RUNTIME_DIRECTORY']?.split(':')[0];
  const place =
    runtimeDir !== undefined && /unix:/.test(error.message) ? `; a place for its sockets is ${runtimeDir}` : '';
  return new GraceError(error.message, {
    hint: `the daemon runs as the user ${nameOf(uid)}, whom it is denied to${place}`,
    code: error.code,
    cause: error,
  });
}

function nameOf(uid: number): string {
  try {
    return `${userInfo().username} (${uid})`;
  } catch {
    return String(uid);
  }
}
