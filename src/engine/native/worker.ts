/** What a thread of the native engine runs. */
import { workerData } from 'node:worker_threads';
import { setThreadName } from '../../sys/process.ts';
import { Loop } from './loop.ts';
import type { ThreadData } from './messages.ts';
import { Heartbeat } from './heartbeat.ts';

const data = workerData as ThreadData;
setThreadName(`grace-bytes-${data.number}`);
const heartbeat = new Heartbeat(data.heartbeat);
heartbeat.start();
try {
  new Loop(data).run();
} finally {
  heartbeat.stop();
}
