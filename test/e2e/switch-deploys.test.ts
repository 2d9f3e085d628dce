import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { makeGrace, runtime } from './grace.ts';

const src = 'tcp:0:interface=127.0.0.1';
/** More of both with GRACE_TEST_SWITCHES and GRACE_TEST_REQUESTS. */
const switches = Number(process.env['GRACE_TEST_SWITCHES'] ?? (runtime === 'deno' ? 10 : 50));
const atLeast = Number(process.env['GRACE_TEST_REQUESTS'] ?? 5000);

test(`of the requests during ${switches} deploys none fails`, { timeout: 600_000 }, async (t) => {
  const grace = makeGrace(t);
  const startServer = async (name: string) => {
    const server = createServer((_, response) => response.end(name)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, dst: `tcp:127.0.0.1:${(server.address() as AddressInfo).port}` };
  };
  let current = await startServer('0');
  t.after(() => current.server.closeAllConnections());
  await grace.ok('start', src, current.dst);
  const port = await grace.port(src);
  const failures: string[] = [];
  let answered = 0;
  let isOver = false;
  const visit = async () => {
    while (!isOver || answered < atLeast) {
      await new Promise<void>((resolve) => {
        const fail = (error: Error) => {
          failures.push(error.message);
          resolve();
        };
        request({ host: '127.0.0.1', port, agent: false }, (response) => {
          response
            .on('error', fail)
            .resume()
            .once('end', () => {
              answered++;
              resolve();
            });
        })
          .once('error', fail)
          .end();
      });
    }
  };
  // A connection a request, so that each of them may meet a switch.
  const visitors = [1, 2, 3, 4].map(() => visit());
  for (let number = 1; number <= switches; number++) {
    const next = await startServer(String(number));
    await grace.ok('switch', src, next.dst, '--wait', '--rollback-if-fails', '200ms');
    // As a deploy does: nobody uses it any more.
    current.server.closeAllConnections();
    current.server.close();
    current = next;
  }
  isOver = true;
  await Promise.all(visitors);
  current.server.close();
  t.diagnostic(`${answered} requests`);
  // Whom grace itself closed has a line in its log.
  if (failures.length > 0)
    t.diagnostic(
      (await grace.ok('logs'))
        .split('\n')
        .filter((line) => !/INFO/.test(line))
        .join('\n'),
    );
  assert.deepEqual([...new Set(failures)], []);
  assert.ok(answered >= atLeast);
});
