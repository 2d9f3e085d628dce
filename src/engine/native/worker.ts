/** What a thread of the native engine runs. */
import { workerData } from 'node:worker_threads';
import { awaitCompiler } from '../../sys/compiler.ts';
import { setThreadName } from '../../sys/process.ts';
import { Loop } from './loop.ts';
import type { ThreadData } from './messages.ts';
import { HandshakeLoop } from './tls/handshakes.ts';
import { Heartbeat } from './heartbeat.ts';

const data = workerData as ThreadData;
setThreadName(data.handshakes ? 'grace-tls' : `grace-bytes-${data.number}`);
const heartbeat = new Heartbeat(data.heartbeat);
heartbeat.start();
try {
  (data.handshakes ? new HandshakeLoop(data, data.handshakes) : new Loop(data)).run();
} finally {
  awaitCompiler();
  heartbeat.stop();
}
