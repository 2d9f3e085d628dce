/**
 * What a daemon and its keeper say to each other over their channel. Unknown messages are ignored,
 * since the two may be of different versions; so the words stay what they were in the first one
 * (`candidate` for a successor, `retired` for a daemon that is replaced).
 *
 *     daemon → keeper   candidate   a successor is being started; this is the keeper's end of its channel
 *                       ready       it has come up: the keeper may become what it is, and says hello then
 *                       serving     the state dir is mine
 *                       successor   the new daemon with this pid is told to take the state dir over
 *                       retired     a successor has taken it over; I finish my connections
 *                       ended       I end, and this was meant to be
 *     keeper → daemon   kept, hello what the keeper holds, and who it is
 */
import type { Program } from '../control/shapes.ts';

/** Of this protocol and of what a keeper leaves to itself when it becomes another version. */
export const keeperFormat = 1;

/** What a daemon says to its keeper. */
export type DaemonMessage =
  /** Copies of descriptors to hold, under these names; in place of earlier ones of the same name. */
  | { keep: string[] }
  | { forget: string[] }
  | { candidate: true }
  | { ready: DaemonIdentity }
  | { serving: DaemonIdentity }
  /** Whoever hears that knows that it may serve, should it have no channel any more. Absent from earlier versions. */
  | { successor: number }
  | { retired: true }
  | { ended: number }
  /** To be answered when everything before has been done; with {@link runs}, the answer to hello. */
  | { ping: number };

/** What a daemon that was started says before all else: its program has come so far as to run. */
export const runs = 0;

/** `program` is how the daemon was started, and so is known to run; `hearsStop`, that it listens to `stop`, and needs no signal. */
export type DaemonIdentity = { pid: number; version: string; format: number; program: Program; hearsStop?: boolean };

/** What a keeper says to its daemon. */
export type KeeperMessage =
  | { kept: string[] }
  /** `reason`: why the keeper had to start this daemon in place of one that crashed. */
  | { hello: { pid: number; version: string; format: number; reason: string | null } }
  | { note: string }
  /** The keeper was told to stop for the `stop`th time. Said again, it means the same. */
  | { stop: number }
  | { pong: number };

/** Variable with the descriptors of its end of the channel, for a daemon that a keeper starts. */
export const channelVariable = 'GRACE_KEEPER';

/** Name of both among what a successor inherits (LISTEN_FDNAMES). */
export const channelName = 'grace-keeper';

/** Variable with the descriptor of what a keeper leaves to itself when it becomes another version. */
export const stateVariable = 'GRACE_KEEPER_STATE';

/** Names in the fd store of what is not the listener of a rule. */
export const storeNames = {
  lock: 'grace-lock',
  control: 'grace-control',
  /** An inherited socket: its descriptor in the process that inherited it, its place among systemd's or `-`, its name. */
  inherited: ({ fd, index, name }: { fd: number; index: number | null; name: string }) =>
    `given ${fd} ${index ?? '-'} ${name}`,
};

/** What {@link storeNames.inherited} was made of, or null for any other name. */
export function parseInherited(text: string): { fd: number; index: number | null; name: string } | null {
  const match = /^given ([0-9]+) ([0-9]+|-) (.*)$/.exec(text);
  return match
    ? { fd: Number(match[1]), index: match[2] === '-' ? null : Number(match[2]), name: match[3] ?? '' }
    : null;
}
