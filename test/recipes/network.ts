/** Machines for recipes that need several: namespaces that go with the shell in whose namespaces they are. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Seen } from './fixtures/visitor.ts';

/** What runs such a shell (unshare(1)). */
export const ownNetwork = ['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'] as const;

/** Why there can be no such machines here, or that a program is missing; false when nothing is in the way. */
export function networkObstacle(programs: readonly string[] = []): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it takes root on Linux to make a network';
  if (spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', 'true']).status !== 0)
    return 'no namespaces can be made here';
  const missing = ['ip', ...programs].filter((name) => spawnSync(name, [name === 'ip' ? '-V' : '--version']).error);
  return missing.length === 0 ? false : `it needs ${missing.join(', ')}`;
}

/** Ask a visitor (fixtures/visitor.ts) at its socket what it has seen; `reset` has it forget that afterwards. */
export async function askVisitor(socket: string, word: 'look' | 'reset'): Promise<Seen> {
  const asking = connect(socket).setEncoding('utf8');
  asking.write(word);
  let text = '';
  asking.on('data', (part: string) => (text += part));
  await once(asking, 'close');
  return JSON.parse(text) as Seen;
}
