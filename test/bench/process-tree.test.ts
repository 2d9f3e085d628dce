import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, isSameProcess, memoryKb, processTree, startTime } from '../../scripts/bench/process-tree.ts';

const burner = fileURLToPath(new URL('burner.ts', import.meta.url));

test('CPU of a process counts its threads and children that have ended', { timeout: 20_000 }, async () => {
  const child = spawn(process.execPath, [burner], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const used = Number(line);
    const seen = cpuSeconds([child.pid!]);
    // Ticks are 10 ms, user and system are rounded on their own, and the child works on a little after it counted.
    assert.ok(used > 0.36 && Math.abs(seen - used) < 0.05 + 0.1 * used, `${seen} s seen of ${used} s`);
  } finally {
    child.stdin.end();
    await ended;
  }
});

test('a tree is a process and what it started, and has memory', { timeout: 20_000 }, async () => {
  const shell = spawn('/bin/sh', ['-c', 'exec 3<&0; cat <&3 & echo $!; wait'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(shell, 'exit');
  const [line] = (await once(shell.stdout, 'data')) as [Buffer];
  const cat = Number(line);
  assert.deepEqual(processTree(shell.pid!).sort(), [shell.pid!, cat].sort());
  assert.ok(memoryKb([shell.pid!]) > memoryKb([cat]));
  const before = { pid: cat, since: startTime(cat) };
  assert.ok(isSameProcess(before));
  process.kill(cat);
  await ended;
  assert.ok(!isSameProcess(before));
  assert.equal(cpuSeconds([cat]), 0);
});
