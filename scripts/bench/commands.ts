/** How long the commands of grace take. */
import { join } from 'node:path';
import type { Stage } from './compare.ts';
import { interleave } from './interleave.ts';
import type { Figures } from './measure.ts';
import type { Build } from './options.ts';
import { graceCommand } from './peers.ts';
import { freePort } from './ports.ts';
import { run } from './program.ts';
import type { Rounds } from './interleave.ts';

/** Milliseconds from the start of the client to its end, with a daemon as `grace start` makes it: with its keeper, the engine that it chooses, and one rule. */
export async function measureCommands(
  builds: readonly Build[],
  { dir, signal, note, rounds }: Stage & { rounds: number },
): Promise<Rounds> {
  await using cleanUp = new AsyncDisposableStack();
  const daemons = builds.map(({ name, path }) => {
    const { file, args } = graceCommand(path);
    const state = join(dir, `commands-${name}`);
    return {
      name,
      grace: (command: readonly string[], limit = signal) =>
        run(file, [...args, '-d', state, ...command], { signal: limit }),
    };
  });
  for (const { grace } of daemons) {
    // Interrupted or not, and also when it fails: no daemon is left behind.
    cleanUp.defer(() =>
      grace(['stop', '--now'], new AbortController().signal).then(
        () => {},
        () => {},
      ),
    );
    await grace(['start', `tcp:${await freePort()}:interface=127.0.0.1`, 'tcp:127.0.0.1:9']);
  }
  const commands = [['--version'], ['ls'], ['restart']];
  const peers = daemons.flatMap(({ name, grace }) =>
    commands.map((command) => ({
      name: ['grace', name, ...command].filter((part) => part !== '').join(' '),
      grace,
      command,
    })),
  );
  return await interleave({
    peers,
    signal,
    rounds: Math.max(3, rounds),
    async measure({ grace, command }): Promise<Figures> {
      const startedAt = performance.now();
      await grace(command);
      return { ms: performance.now() - startedAt };
    },
    onFailure: ({ peer, error }) => note(`commands: ${peer.name} failed: ${error.message}`),
  });
}
