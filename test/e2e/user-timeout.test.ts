/** A peer that takes nothing for so long is given up, on either side. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { makeGrace, runtime } from './grace.ts';

const options = { timeout: 120_000, skip: process.platform === 'linux' ? false : 'TCP_USER_TIMEOUT is of Linux' };
const plain = 'tcp:0:interface=127.0.0.1';

for (const engine of ['native', 'portable']) {
  for (const side of ['client', 'destination'] as const) {
    // Deno tells no descriptor of a socket that it has connected.
    const skip = runtime === 'deno' && (engine === 'native' || side === 'destination');
    test(
      `a ${side} that reads nothing is given up after userTimeout by the ${engine} engine`,
      skip ? { skip: 'not on Deno' } : options,
      async (t) => {
        const grace = makeGrace(t);
        const log = join(dirname(grace.dir), 'access.log');
        const more = Buffer.alloc(1 << 20);
        const flood = (socket: ReturnType<typeof connect>) => {
          socket.on('error', () => {});
          const push = () => {
            while (!socket.destroyed && socket.write(more));
          };
          socket.on('drain', push);
          push();
        };
        const sockets: ReturnType<typeof connect>[] = [];
        const server = createServer((socket) => {
          sockets.push(socket);
          if (side === 'client') return flood(socket);
          socket.on('error', () => {});
          socket.pause();
        });
        server.listen(0, '127.0.0.1');
        await until('it listens', () => server.listening);
        t.after(() => {
          for (const socket of sockets) socket.destroy();
          server.close();
        });
        const src = side === 'client' ? `${plain}:userTimeout=1s` : plain;
        const dst = `tcp:127.0.0.1:${(server.address() as AddressInfo).port}${side === 'client' ? '' : ':userTimeout=1s'}`;
        const access = ['--access-log', log, '--access-log-format', 'json'];
        const daemon = grace.spawn('daemon', '--no-keeper', '--engine', engine, ...access, `${src}=${dst}`);
        t.after(() => void daemon.child.kill('SIGKILL'));
        await until('it serves', async () => (await grace.run('status')).code === 0);
        const long = await grace.ok('ls', '--long');
        assert.match(long, side === 'client' ? /limits: userTimeout 1s/ : /limits: userTimeout of DST 1s/);
        const client = connect(await grace.port(src), '127.0.0.1');
        sockets.push(client);
        client.on('error', () => {});
        if (side === 'client') client.pause();
        else flood(client);
        await until('it is given up', () => existsSync(log) && readFileSync(log, 'utf8').includes('\n'));
        const { reason } = JSON.parse(readFileSync(log, 'utf8')) as { reason: string };
        const ofSide = side === 'client' ? 'client-reset' : 'upstream-reset';
        assert.equal(reason, engine === 'native' ? ofSide : 'error');
      },
    );
  }
}

test('userTimeout is for TCP', options, async (t) => {
  const grace = makeGrace(t);
  for (const [kind, endpoint] of [
    ['client', 'unix:/run/a:userTimeout=1s'],
    ['server', 'unix:/run/a:userTimeout=1s'],
  ] as const) {
    const { code, stderr } = await grace.run('endpoint', kind, endpoint);
    assert.equal(code, 2);
    assert.match(stderr, /userTimeout/);
  }
});
