import { constants } from 'node:os';
import { hasLinuxCalls, peekEndedChild, reapChild, setChildSubreaper, setThreadName } from '../sys/process.ts';

/** Most ends that are remembered; a process 1 reaps much that nobody asks about. */
const maxRemembered = 100;

/**
 * Takes the exit status of ended children, so that none stays as a zombie: orphans come to this process
 * as its children. Those that the runtime started are left to the runtime.
 */
export class Reaper {
  /** Children whose end the runtime itself waits for. */
  readonly #children = new Set<number>();
  readonly #howEnded = new Map<number, string>();

  /** A child that the runtime started. */
  add(pid: number): void {
    this.#children.add(pid);
  }

  /** The runtime has told of the end of a child. */
  remove(pid: number, how: string): void {
    this.#children.delete(pid);
    this.#remember(pid, how);
    this.reap();
  }

  /** Whether the end of this process will be told, once it has come. */
  isAwaited(pid: number): boolean {
    return this.#children.has(pid);
  }

  /** To be called at SIGCHLD. */
  reap(): void {
    try {
      this.#reapAll();
    } catch {
      // A sandbox forbids it: how a daemon ended is not told then, and the system keeps zombies.
    }
  }

  #reapAll(): void {
    for (let pid = peekEndedChild(); pid !== null; pid = peekEndedChild()) {
      if (this.#children.has(pid)) return; // the runtime takes it, and then remove() goes on
      const ended = reapChild(pid);
      if (ended === null) return;
      this.#remember(
        pid,
        ended.signal === null ? `exited with code ${ended.code}` : `was ended by ${signalName(ended.signal)}`,
      );
    }
  }

  /** How a process ended, for people, if that is known (yet). */
  howEnded(pid: number | null): string | undefined {
    return pid === null ? undefined : this.#howEnded.get(pid);
  }

  #remember(pid: number, how: string): void {
    if (this.#howEnded.size >= maxRemembered) this.#howEnded.clear();
    this.#howEnded.set(pid, how);
  }
}

/** As the runtime names it of its own children. */
function signalName(number: number): string {
  return Object.entries(constants.signals).find(([, each]) => each === number)?.[0] ?? `signal ${number}`;
}

/** Orphaned daemons become this process's children. Without that it keeps all the same. */
export function becomeReaper(): void {
  if (!hasLinuxCalls) return;
  try {
    setThreadName('grace-keeper');
    setChildSubreaper(true);
  } catch {
    // See whyNotKeeper in decide.ts.
  }
}
