import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { test } from 'node:test';
import { get } from './get.ts';
import { Program } from './program.ts';

const SERVING = /^Serving \S+:(\d+), \S+:(\d+) with pid (\d+)\.$/;

async function getOverSession(session: http2.ClientHttp2Session): Promise<string> {
  const stream = session.request({ ':path': '/' });
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await once(stream, 'end');
  return text;
}

type Load = { requests: number; failures: string[]; pids: Set<string> };

async function askOverAndOver(load: Load, signal: AbortSignal, ask: () => Promise<string>): Promise<void> {
  while (!signal.aborted) {
    try {
      load.pids.add(await ask());
      load.requests++;
    } catch (error) {
      load.failures.push(String(error));
    }
  }
}

test('fifty restarts fail no request of keep-alive, closing and HTTP/2 clients', { timeout: 300_000 }, async () => {
  await using program = new Program('tell-server.ts', []);
  const [, port, port2, firstPid] = await program.line(SERVING);
  const stop = new AbortController();
  const load: Record<'keepAlive' | 'closing' | 'http2', Load> = {
    keepAlive: { requests: 0, failures: [], pids: new Set() },
    closing: { requests: 0, failures: [], pids: new Set() },
    http2: { requests: 0, failures: [], pids: new Set() },
  };
  const agent = new http.Agent({ keepAlive: true });
  let session: http2.ClientHttp2Session | undefined;
  const clients = [
    ...[1, 2, 3].map(() =>
      askOverAndOver(load.keepAlive, stop.signal, () => get({ port: Number(port), host: '127.0.0.1' }, '/', agent)),
    ),
    askOverAndOver(load.closing, stop.signal, () => get({ port: Number(port), host: '127.0.0.1' })),
    askOverAndOver(load.http2, stop.signal, () => {
      if (session === undefined || session.closed || session.destroyed) {
        session = http2.connect(`http://127.0.0.1:${port2}`);
        session.on('error', () => {});
      }
      return getOverSession(session);
    }),
  ];

  let pid = firstPid;
  for (let i = 0; i < 50; i++) {
    process.kill(Number(pid), 'SIGUSR2');
    [, , , pid] = await program.line(SERVING);
    await program.line(/^Graceful handoff/);
  }
  stop.abort();
  await Promise.all(clients);
  agent.destroy();
  session?.close();
  for (const [kind, { requests, failures, pids }] of Object.entries(load)) {
    assert.deepEqual(failures, [], `${kind}: ${failures.length} of ${requests} requests failed`);
    assert.ok(pids.size > 25, `${kind}: answers came from ${pids.size} processes only`);
  }
  process.kill(Number(pid), 'SIGTERM');
  await program.ended;
  assert.equal(program.output.match(/^Exiting pid/gm)?.length, 51);
});
