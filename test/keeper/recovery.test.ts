import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Reaper } from '../../src/keeper/reaper.ts';
import { Recovery } from '../../src/keeper/recovery.ts';
import { SignalRelay } from '../../src/keeper/signals.ts';
import { isRunning } from '../../src/sys/process.ts';

const timeout = 60_000;

/** A recovery, and what it does first; `events` says also when that is done while the process that is looked at lives. */
function makeRecovery(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'grace-recovery-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const events: string[] = [];
  const done = Promise.withResolvers<void>();
  const tell = (event: string) => {
    events.push(lives() ? `${event} too early` : event);
    done.resolve();
  };
  const reaper = new Reaper();
  const watched: { pid: number | null } = { pid: null };
  const lives = () => watched.pid !== null && isRunning(watched.pid);
  const signals: SignalRelay = new SignalRelay(() => recovery.targets, []);
  const recovery: Recovery = new Recovery({
    dir,
    reaper,
    signals: () => signals,
    hasServed: () => true,
    start: () => tell('started'),
    joined: () => tell('joined'),
    giveUp: () => tell('given up'),
    finish: (code) => tell(`finished with ${code}`),
    print() {},
  });
  recovery.served();
  t.after(() => recovery.cancel());
  return { recovery, reaper, watched, signals, dir, events, done: done.promise };
}

/** The process that is looked at: it ends when it is told so, or by a signal. */
async function startProcess(
  t: TestContext,
  script: string,
  { reaper, watched }: Pick<ReturnType<typeof makeRecovery>, 'reaper' | 'watched'>,
) {
  const child = spawn(process.execPath, ['-e', `${script}; process.stdin.resume().on('end', () => process.exit())`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const pid = (watched.pid = child.pid!);
  reaper.add(pid);
  child.once('exit', (_, signal) => reaper.remove(pid, `was ended by ${signal}`));
  await once(child.stdout, 'data');
  return { pid, end: () => child.stdin.end() };
}

test(
  'beside a successor that has been told to serve nobody is started when its predecessor is gone, until it ends',
  { timeout, skip: process.platform !== 'linux' },
  async (t) => {
    const made = makeRecovery(t);
    const { recovery, events, done } = made;
    const { pid, end } = await startProcess(t, `console.log('up')`, made);
    recovery.begin({ pid: null, phase: 'serving', successor: pid });
    setTimeout(end, 200); // that nobody is started meanwhile, only time can tell
    await done;
    // Its control socket is not there: so it was to end.
    assert.deepEqual(events, ['finished with 0']);
  },
);

test(
  'beside a process that serves the state dir nobody is started, though nobody has said that it does; when it crashes, another is',
  { timeout, skip: process.platform !== 'linux' },
  async (t) => {
    const made = makeRecovery(t);
    const { recovery, dir, events, done } = made;
    const listen = `require('net').createServer().listen(${JSON.stringify(join(dir, 'grace.sock'))}, () => console.log('up'))`;
    const { pid } = await startProcess(t, listen, made);
    recovery.begin({ pid: null, phase: 'replaced' });
    setTimeout(() => process.kill(pid, 'SIGKILL'), 200); // that nobody is started meanwhile, only time can tell
    await done;
    assert.deepEqual(events, ['started']);
  },
);

test(
  'a TERM that comes while a daemon has no channel ends it',
  { timeout, skip: process.platform !== 'linux' },
  async (t) => {
    const made = makeRecovery(t);
    const { recovery, signals, events, done } = made;
    const { pid } = await startProcess(t, `console.log('up')`, made);
    recovery.begin({ pid: null, phase: 'replaced', successor: pid });
    assert.equal(signals.pass('SIGTERM'), true);
    await done;
    assert.deepEqual(events, ['finished with 0']);
  },
);
