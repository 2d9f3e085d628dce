/** How a keeper starts a daemon: with a channel, and with copies of all that it holds. */
import { spawnDaemon } from './child.ts';
import { openChannel } from './channel.ts';
import type { KeeperConsole } from './console.ts';
import type { FdStore } from './fd-store.ts';
import type { Generation, WatchedGenerations } from './generations.ts';
import type { KeeperMessage } from './messages.ts';
import type { Programs } from './programs.ts';
import type { Reaper } from './reaper.ts';

/** How long a daemon that was started may be silent: Node waits for ever for a thread that the system has refused it. */
const firstWordLimitMs = 30_000;

/** What a daemon is started with. */
export type StarterOptions = {
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  programs: Programs;
  generations: WatchedGenerations;
  store: FdStore;
  console: KeeperConsole;
  reaper: Reaper;
  firstWordMs?: number;
};

/**
 * Start a daemon, which is among the generations from then on, and greet it. Its channel tells when it could not be
 * started. Throws SystemError when there is no descriptor left for that.
 */
export function startDaemon(
  hello: KeeperMessage,
  { args, env, programs, generations, store, console, reaper, firstWordMs = firstWordLimitMs }: StarterOptions,
): void {
  const [ours, theirs] = openChannel();
  const generation = generations.add(ours, { phase: 'starting', pid: null });
  generation.channel.sendAll(store, (names) => ({ kept: names }));
  generation.channel.send(hello);
  const child = spawnDaemon({ programs: programs.inTurn(), args, end: theirs, env: console.environment(env) });
  console.answered();
  generation.pid = child.pid;
  child.onShortage((error) => (generation.shortage = error));
  const { pid } = child;
  if (pid === null) return; // the closed channel tells
  reaper.add(pid);
  child.onExit((how) => reaper.remove(pid, how));
  setTimeout(() => {
    // While its end is awaited, its pid is nobody else's.
    if (!generation.hasSpoken && generation.channel.isOpen && reaper.isAwaited(pid)) endSilent(generation, pid);
  }, firstWordMs).unref();
}

function endSilent(generation: Generation, pid: number): void {
  generation.shortage = new Error('the one that was started has not said a word, as where threads are short');
  process.kill(pid, 'SIGKILL');
}
