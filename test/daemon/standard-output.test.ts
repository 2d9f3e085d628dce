import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readLines } from '../../src/control/lines.ts';

const talker = fileURLToPath(new URL('fixtures/talker.ts', import.meta.url));

test(
  'a client that does not read at once still hears every note of a daemon that starts, and that it is ready',
  { timeout: 60_000 },
  async (t) => {
    const child = spawn(process.execPath, [talker], { stdio: 'pipe' });
    t.after(() => void child.kill('SIGKILL'));
    const exited = once(child, 'exit');
    await once(child.stderr, 'data');
    const heard: unknown[] = [];
    for await (const message of readLines(child.stdout)) heard.push(message);
    await exited;
    assert.equal(heard.length, 5001);
    assert.deepEqual(heard.at(-1), { ready: true });
  },
);
