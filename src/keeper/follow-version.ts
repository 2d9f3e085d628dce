/** When a keeper becomes the version that its daemon is replaced by, and what it takes along. */
import type { Program } from '../control/shapes.ts';
import { GraceError, errorMessage } from '../error.ts';
import { become, isThisProgram } from './become.ts';
import type { Remembered } from './become.ts';
import type { KeeperConsole } from './console.ts';
import type { FdStore } from './fd-store.ts';
import type { Generation, WatchedGenerations } from './generations.ts';
import { keeperFormat } from './messages.ts';
import type { DaemonIdentity } from './messages.ts';
import { forwarded } from './signals.ts';
import type { SignalRelay } from './signals.ts';

/** What a keeper is, and has at the moment that `remember` is called. */
export type FollowOptions = {
  version: string;
  /** How this program was started. */
  self: Program;
  dir: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  generations: WatchedGenerations;
  store: FdStore;
  console: KeeperConsole;
  signals: SignalRelay;
  hasServed: () => boolean;
};

/**
 * Go on as the program that a successor has just shown to run, before anybody can know of that one.
 * Node lets signals end the process while it starts; so it is not done for nothing. `stay` is called
 * when this process stays what it is, with why, unless there is nothing to be said of it.
 */
export function followVersion(
  successor: Generation,
  { program, format, version }: DaemonIdentity,
  options: FollowOptions,
  stay: (why: string | null) => void,
): void {
  const { env, args, dir, self, signals } = options;
  if (format !== keeperFormat) return stay(`version ${version} has another kind of keeper`);
  if (signals.isStopping || (version === options.version && isThisProgram(program, self))) return stay(null);
  become({ program, args, dir, env, remember: () => remember(successor, options), signals: forwarded }).catch(
    (error: unknown) => stay(errorMessage(error)),
  );
}

/** Everything as it is now, for the next image. Throws when that one is not to be any more. */
function remember(
  successor: Generation,
  { generations, signals, store, console, dir, args, hasServed }: FollowOptions,
): Remembered {
  const all = [...generations];
  if (signals.isStopping) throw new GraceError('the daemon is to stop');
  if (!all.includes(successor)) throw new GraceError('the new daemon has ended');
  if (all.some(({ channel }) => channel.isBehind)) throw new GraceError('a daemon does not listen to it');
  return {
    format: keeperFormat,
    dir,
    args: [...args],
    isBackground: console.isBackground,
    hasServed: hasServed(),
    kept: [...store],
    pendingSignals: [...signals.pending],
    generations: all.map(({ channel, pid, phase, ended }) => ({ ...channel.end, pid, phase, ended })),
  };
}
