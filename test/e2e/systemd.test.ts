/** The unit files of scripts/init in a real systemd, which runs in namespaces of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { program, root, runtime } from './grace.ts';

const timeout = 180_000;

/** Exit code of the sandbox where there can be none. */
const notHere = 77;

async function play(t: TestContext, scenario: string): Promise<void> {
  if (runtime === 'deno') return t.skip('the unit files are for the executable');
  const units = mkdtempSync(join(tmpdir(), 'grace-units-'));
  t.after(() => rmSync(units, { recursive: true, force: true }));
  for (const name of ['grace.service', 'grace.socket', 'grace.logrotate'])
    copyFileSync(join(root, 'scripts/init', name), join(units, name));
  const sandbox = [join(root, 'scripts/systemd-sandbox.sh'), '--bind', root, units];
  const inside = [process.execPath, join(root, 'test/e2e/systemd/scenario.ts'), scenario, ...program];
  const child = spawn('bash', [...sandbox, ...inside], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: t.signal,
    killSignal: 'SIGTERM',
  });
  let transcript = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (transcript += text));
  const [code] = await once(child, 'close');
  if (code === notHere) return t.skip(transcript.trim());
  for (const line of transcript.trim().split('\n')) t.diagnostic(line);
  assert.equal(code, 0, transcript);
}

for (const [scenario, title] of [
  ['life', 'systemd is told of readiness, status, main process and sockets, and stops the service'],
  [
    'reload',
    'systemctl reload is a restart: another main process, nobody refused or cut off; a failed one changes nothing',
  ],
  ['kill', 'after systemctl kill -s KILL the service comes back on its stored sockets, and nobody is refused'],
  ['restart', 'systemctl restart refuses and cuts off nobody'],
  ['watchdog', 'a successor answers to the watchdog, and one that hangs is started again'],
  ['sockets', 'a rule on a socket of a socket unit goes through reload and crash'],
  [
    'group',
    'under the unit for a deploy group its members command the daemon, which runs as a user of its own, and others do not',
  ],
  ['rotate', 'after the log was rotated the service reloads and starts again'],
] as const) {
  test(title, { timeout }, (t) => play(t, scenario));
}
