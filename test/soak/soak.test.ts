/**
 * The soak of scripts/soak, for a short time and with few connections. GRACE_SOAK_TIME (default 3m),
 * GRACE_SOAK_CONNECTIONS (default 150) and GRACE_SOAK_SEED choose others; `npm run soak` runs it for as long as one likes.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { parseDuration } from '../../src/endpoint/duration.ts';
import { root } from '../e2e/grace.ts';

const time = process.env['GRACE_SOAK_TIME'] ?? '3m';
const connections = process.env['GRACE_SOAK_CONNECTIONS'] ?? '150';
const seed = process.env['GRACE_SOAK_SEED'] ?? '4711';
const skip = process.platform !== 'linux' && 'it reads /proc';

/** Run one to its end; `onLine` sees each line as it comes. */
async function run(
  args: readonly string[],
  onLine: (line: string) => void = () => {},
): Promise<{ code: number | null; lines: string[] }> {
  const child = spawn(process.execPath, [join(root, 'scripts/soak/soak.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    onLine(line);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, lines };
}

test(
  `every byte and every end is accounted for over ${time} of switches, restarts, crashes and shortages (seed ${seed})`,
  { timeout: (parseDuration(time) ?? 0) + 300_000, skip },
  async (t) => {
    const { code, lines } = await run([time, '--connections', connections, '--seed', seed]);
    for (const line of lines) t.diagnostic(line);
    assert.equal(code, 0, lines.slice(-30).join('\n'));
  },
);

test(
  'a soak fails when connections are lost and nothing that happened explains it',
  { timeout: 180_000, skip },
  async () => {
    let isKilled = false;
    const { code, lines } = await run(['8s', '--connections', '20', '--seed', '1', '--events', 'none'], (line) => {
      const pid = /daemon ([0-9]+)/.exec(line)?.[1];
      if (pid === undefined || isKilled) return;
      isKilled = true;
      setTimeout(() => process.kill(Number(pid), 'SIGKILL'), 2000); // no pause: connections are to be open by then
    });
    assert.equal(code, 1);
    assert.match(lines.join('\n'), /failures \(seed 1; .*\n +.* \(turns|flow, .*came before the end|saw a reset/);
  },
);

test('a soak says what is wrong with its arguments', { timeout: 60_000, skip }, async () => {
  assert.equal((await run(['soon'])).code, 2);
  assert.equal((await run(['1s', '--events', 'earthquake'])).code, 2);
});
