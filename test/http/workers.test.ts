import assert from 'node:assert/strict';
import cluster from 'node:cluster';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

const options = { timeout: 60_000, skip: 'Deno' in globalThis && 'its threads hear signals, and it has no workers' };
const program = new URL('./fixtures/worker-server.ts', import.meta.url);

test('a worker of node:cluster is refused, whose socket would be another one of its primary', options, async (t) => {
  cluster.setupPrimary({ exec: fileURLToPath(program), execArgv: [] });
  const worker = cluster.fork();
  t.after(() => worker.kill('SIGKILL'));
  assert.deepEqual((await once(worker, 'message'))[0], [
    'ERR_GRACE_PROCESS',
    'serve: this process is a worker of node:cluster, which has no socket of its own',
    'run the program without it (PM2: in fork mode), several behind `grace daemon`',
  ]);
});

test('a worker thread is refused, which SIGUSR2 would end', options, async () => {
  const worker = new Worker(program);
  assert.deepEqual((await once(worker, 'message'))[0], [
    'ERR_GRACE_PROCESS',
    'serve: this is a worker thread, and Node tells only the main thread of signals',
    'call it in the main thread, or with options.signal, by which alone it is stopped then',
  ]);
  await worker.terminate();
});
