import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownLoopback, root } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import { missing, openSession, run, secondLoopback, startServer } from './program.ts';
import { pemFiles } from '../e2e/pem-files.ts';

const peer = [join(root, 'test/programs/fixtures/grpc_peer.py')];
const skip = missing(["/usr/bin/python3 -c 'import grpc'", 'python3-grpcio']);
const python = '/usr/bin/python3';

for (const isSecure of [false, true])
  test(
    `a stream of gRPC ${isSecure ? 'with TLS that grace ends ' : ''}and its calls notice nothing; a crash refuses nobody`,
    { timeout: 240_000, skip },
    async (t) => {
      const port = await freePort();
      const addresses = [ownLoopback, secondLoopback].map((host) => `${host}:${port}`);
      await startServer(t, python, [...peer, 'serve', ...addresses], { host: ownLoopback, port });
      const pem = pemFiles(t);
      const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}:alpn=h2`;
      const ways = [`tcp:${addresses[0]}`, `tcp:${addresses[1]}`] as const;
      const forward = await startForward(t, { ways, ...(isSecure ? { src } : {}) });
      const authority = isSecure ? [pem.root] : [];
      const target = `127.0.0.1:${forward.port}`;

      const stream = openSession(t, python, [...peer, 'session', target, ...authority]);
      let count = 0;
      const session = async () => assert.equal(await stream.ask(`message ${++count}`), `message ${count}`);
      const call = async (numbers: number) =>
        assert.equal(await run(python, [...peer, 'call', target, `${numbers}`, ...authority]), 'well\n');
      const newcomer = () => call(10);
      const rounds = await meanwhile(() => call(2000), disturb(forward, { session, newcomer }));
      t.diagnostic(`${rounds} rounds of 2,000 streamed messages and 21 calls, ${count} messages of one stream`);
      await crash(forward, newcomer);
      // It has moved at each restart, and was the last process's.
      assert.equal(await stream.ended, 'UNAVAILABLE\n');
    },
  );
