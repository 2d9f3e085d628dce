/** Clients that say nothing, or a byte at a time for ever, do not stay. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { makeCertificate } from '../endpoint/pem.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';

const engines = runtime === 'executable' && process.platform === 'linux' ? ['native', 'portable'] : ['portable'];

for (const engine of engines) {
  test(
    `a client whose PROXY header or TLS handshake does not come in time is ended, however it is dripped (${engine})`,
    { timeout: 120_000 },
    async (t) => {
      using temp = makeTempDir();
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'one');
      const [key, cert] = [temp.file('a.key'), temp.file('a.crt')];
      makeCertificate(temp.path, { name: 'a', subject: 'a', extensions: [] });
      const daemon = grace.spawn('daemon', '--engine', engine, '--no-keeper');
      while ((await grace.run('status')).code !== 0) assert.equal(daemon.child.exitCode, null);
      const at = 'interface=127.0.0.1';
      const proxied = `tcp:0:${at}:proxy=accept:headerTimeout=400ms`;
      const secure = `ssl:0:${at}:privateKey=${key}:certKey=${cert}:handshakeTimeout=400ms`;
      for (const src of [proxied, secure]) await grace.ok('start', src, backend.endpoint);

      const begun: Record<string, Buffer> = {
        [proxied]: Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n'),
        [secure]: Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), Buffer.alloc(505)]),
      };
      for (const [src, bytes] of Object.entries(begun)) {
        const port = await grace.port(src);
        const lastOf = (drip: boolean) =>
          new Promise<number>((resolve) => {
            const began = performance.now();
            let sent = 0;
            const socket = connect(port, '127.0.0.1');
            const timer = setInterval(() => {
              if (drip && sent < 20) socket.write(bytes.subarray(sent, ++sent));
            }, 50);
            socket.on('error', () => {});
            socket.resume().on('close', () => {
              clearInterval(timer);
              resolve(performance.now() - began);
            });
          });
        // A busy machine is late; without a limit it would be for ever.
        for (const tookMs of await Promise.all([lastOf(false), lastOf(true)]))
          assert.ok(tookMs < 20_000, `${src}: ${tookMs} ms`);
      }
      const client = await openClient(t, { port: await grace.port(proxied) });
      client.socket.write(begun[proxied]!);
      assert.equal(await client.line(), 'one');
      const metrics = await grace.ok('metrics');
      for (const reason of ['proxy-refused', 'handshake-failed'])
        assert.match(metrics, new RegExp(`grace_connection_ends_total{[^}]*reason="${reason}"} 2\n`));
      await grace.ok('stop', '--now');
      await daemon.ended;
    },
  );
}
