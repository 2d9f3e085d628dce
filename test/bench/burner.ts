/**
 * Uses CPU in three ways, and prints how many seconds it was in all: itself, in a thread that ends,
 * and in a child that ends. Then waits until its stdin is closed.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread } from 'node:worker_threads';

const burnMs = 120;

function burn(): void {
  for (const { user, system } = process.threadCpuUsage(), limit = user + system + burnMs * 1000; ;) {
    const now = process.threadCpuUsage();
    if (now.user + now.system >= limit) return;
  }
}

const secondsOf = ({ user, system }: NodeJS.CpuUsage) => (user + system) / 1e6;

if (!isMainThread) {
  burn();
} else if (process.argv[2] === 'child') {
  burn();
  console.log(secondsOf(process.cpuUsage()));
} else {
  burn();
  const file = fileURLToPath(import.meta.url);
  await once(new Worker(file), 'exit');
  const { stdout } = spawnSync(process.execPath, [file, 'child'], { encoding: 'utf8' });
  console.log(JSON.stringify(secondsOf(process.cpuUsage()) + Number(stdout)));
  process.stdin.resume();
}
