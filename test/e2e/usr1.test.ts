import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { makeGrace, runtime } from './grace.ts';
import type { Running } from './grace.ts';
import { descriptorsOf } from './processes.ts';

const timeout = 60_000;
const skip = runtime === 'executable' ? false : 'only the executable has its flags in it';

/** From when Node has set its signals up; before that, a signal does to any program what the system says. */
function holdsUsr1Back(pid: number): boolean {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const blocked = BigInt(`0x${/^SigBlk:\s*([0-9a-f]+)$/m.exec(status)?.[1]}`);
  return (blocked & (1n << 9n)) !== 0n;
}

/** TCP sockets on which a process listens. */
function portsOf(pid: number): string[] {
  const own = new Set(descriptorsOf(pid).values());
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
    readFileSync(table, 'utf8')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const fields = line.trim().split(/\s+/);
        return fields[3] === '0A' && own.has(`socket:[${fields[9]}]`) ? [fields[1]!] : [];
      }),
  );
}

/** Signal a process from its first moment on, until something has happened. */
async function signalUntil({ child, outcome }: Running, isOver: () => boolean): Promise<void> {
  const pid = child.pid!;
  while (!holdsUsr1Back(pid)) assert.equal(child.exitCode, null);
  while (!isOver()) {
    child.kill('SIGUSR1');
    assert.deepEqual([child.exitCode, child.signalCode, outcome().stderr], [null, null, '']);
    assert.deepEqual(portsOf(pid), []);
    await turn();
  }
}

for (const args of [['daemon'], ['daemon', '--no-keeper']]) {
  test(
    `SIGUSR1 while "grace ${args.join(' ')}" starts opens no debugger's port, and it comes up`,
    { timeout, skip },
    async (t) => {
      const grace = makeGrace(t);
      const daemon = grace.spawn(...args);
      await signalUntil(daemon, () => grace.log().includes('serving'));
      const { pid } = await grace.status();
      daemon.child.kill('SIGUSR1');
      assert.deepEqual([...portsOf(pid), ...portsOf(daemon.child.pid!)], []);
      daemon.child.kill('SIGTERM');
      assert.deepEqual(await daemon.ended, { code: 0, stdout: '', stderr: '' });
    },
  );
}

test('SIGUSR1 does nothing to a command', { timeout, skip }, async (t) => {
  const grace = makeGrace(t);
  await grace.ok('start', 'tcp:0:interface=127.0.0.1', 'tcp:127.0.0.1:1');
  const following = grace.spawn('logs', '-f');
  await signalUntil(following, () => following.outcome().stdout.includes('serving'));
  following.child.kill('SIGINT');
  assert.equal((await following.ended).code, 130);
});
