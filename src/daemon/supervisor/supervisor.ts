/**
 * Whoever watches this daemon from outside: the keeper, systemd, or nobody. It starts the daemon again
 * after a crash, and until then holds copies of the listening sockets, so that clients wait in their
 * queues and are not refused.
 */
import type { Program } from '../../control/shapes.ts';

/** Whoever watches this daemon: see keeper.ts, systemd.ts, unsupervised.ts. */
export type Supervisor = {
  /** The keeper, which the pid file names; null without one. */
  readonly keeper: { pid: number; version: string } | null;
  /** The pid of a keeper that lives, has no channel to this daemon, and asks for one by itself; null when there is none. */
  readonly lostKeeper: number | null;
  /** The predecessor had this keeper, or none. */
  succeed(keeper: number | null): void;
  /** Why this daemon was started in place of one that crashed; null when it was not. */
  readonly reason: string | null;
  /** What an earlier daemon had stored, by name. The descriptors are the caller's. */
  takeStored(): [name: string, fd: number][];
  /** Have a copy of a descriptor in the fd store. `isStored`: an earlier daemon has seen to it. */
  store(name: string, fd: number, options?: { isStored?: boolean }): void;
  /** The copy is to be closed: nobody listens there any more. */
  forget(name: string): void;
  /** Resolves when what was to be stored and forgotten is. */
  settled(): Promise<void>;
  /** Whether it keeps the sockets while the daemon is stopped by a signal and started again. */
  readonly keepsOverStop: boolean;
  /** This process has come up as a successor. Resolves when the supervisor is prepared to have it. */
  ready(): Promise<void>;
  /** This process serves the state dir. */
  serving(): void;
  status(text: string): void;
  /** A restart begins, which may take so long. */
  restarting(options: { timeoutMs: number }): void;
  /** What a successor needs to be watched in its turn. It inherits the descriptors; the caller closes them. */
  prepareSuccessor(options: { firstFd: number }): {
    fds: { fd: number; name: string }[];
    env: Record<string, string>;
    close(): void;
  };
  /** A successor is about to be told that the state dir is its own. */
  handOver(options: { pid: number }): void;
  /** The restart came to nothing. */
  rollback(): void;
  /** A successor serves; this process finishes its connections. `isStopping`: it is to be stopped at once. */
  replaced(options: { pid: number; isStopping: boolean }): void;
  stopping(options: { timeoutMs: number }): void;
  /** This process is about to end with this code, and is not to be started again. */
  ended(code: number): void;
  /** Bring a keeper that died back; does nothing where there is one or is none to be. Rejects with GraceError. */
  restore(): Promise<void>;
  /** Take the process that listens on this socket as keeper; its pid is null where the system does not tell. Throws GraceError when there is one or is none to be. */
  attach(path: string, pid: number | null): void;
  /** Hear of what happens to the keeper: that it came, that it went (null), and what it says. */
  watch(events: SupervisorEvents): void;
};

/** What happens to the keeper. */
export type SupervisorEvents = {
  keeperChanged(keeper: { pid: number; version: string } | null): void;
  note(text: string): void;
  /** The keeper was told to stop, for the so many-th time; heard more than once of the same time. */
  stop(times: number): void;
};

/** What a supervisor has to know of this daemon. */
export type SupervisorOptions = {
  dir: string;
  self: Program;
  /** Arguments of `grace daemon` that a new keeper must have too. */
  flags: readonly string[];
  version: string;
  env: NodeJS.ProcessEnv;
};
