import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { Reaper } from '../../src/keeper/reaper.ts';
import { Restarter } from '../../src/keeper/restarter.ts';

const timeout = 60_000;

test(
  'a daemon that takes its time to end after its channel has closed is started again when it has ended',
  { timeout },
  async () => {
    const child = spawn('cat', { stdio: ['pipe', 'ignore', 'inherit'] });
    const reaper = new Reaper();
    reaper.add(child.pid!);
    const exited = once(child, 'exit').then(([code]) => reaper.remove(child.pid!, `exited with code ${code}`));
    const events: string[] = [];
    const decided = new Promise<string>((resolve) => {
      const restarter = new Restarter({
        reaper,
        start: (how) => resolve(how),
        rejoin: () => resolve('asked again'),
        giveUp: () => resolve('given up'),
      });
      restarter.served();
      restarter.crashed(child.pid!);
    });
    void decided.then(() => events.push('decided'));
    // Between the end of a channel and that of a process there is next to nothing on an idle machine.
    setTimeout(() => child.stdin.end(), 100);
    await exited;
    events.push('ended');
    assert.match(await decided, new RegExp(`^the daemon \\(pid ${child.pid}\\) exited with code 0$`));
    assert.deepEqual(events, ['ended', 'decided']);
  },
);
