import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Socket } from 'node:net';
import { openTcpDiagnosis } from '../../../src/engine/portable/tcp-diag.ts';
import type { TcpAddresses, TcpState } from '../../../src/engine/portable/tcp-diag.ts';
import { connectTo, openBackend, reset } from '../peers.ts';

function addressesOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): TcpAddresses {
  assert.ok(localAddress && localPort && remoteAddress && remotePort);
  return { localAddress, localPort, remoteAddress, remotePort };
}

for (const host of ['127.0.0.1', '::1']) {
  test(
    `the kernel tells what became of the peer of ${host}`,
    { timeout: 60_000, skip: process.platform !== 'linux' },
    async () => {
      await using backend = await openBackend({ host });
      using diagnosis = openTcpDiagnosis();
      const stateNow = () => diagnosis?.stateOf(addresses) ?? null;
      const client = await connectTo(backend.address);
      const addresses = addressesOf(await backend.next());
      const become = async (isSo: (state: TcpState | null) => boolean) => {
        while (!isSo(stateNow())) await new Promise((resolve) => setImmediate(resolve));
      };
      assert.deepEqual(stateNow(), { isGone: false, hasPeerEnded: false, unread: 0 });
      client.write('1234');
      await become((state) => state?.unread === 4);
      client.end();
      await become((state) => state?.hasPeerEnded === true && state.unread === 5);
      reset(client);
      await become((state) => state?.isGone === true);
      await backend.close();
      assert.equal(stateNow(), null);
    },
  );
}

test(
  'a connection of a listener for both families is known by its mapped addresses',
  { timeout: 60_000, skip: process.platform !== 'linux' },
  async () => {
    await using backend = await openBackend({ host: '::' });
    using diagnosis = openTcpDiagnosis();
    const client = await connectTo({ host: '127.0.0.1', port: backend.port });
    const peer = await backend.next();
    assert.equal(peer.remoteAddress, '::ffff:127.0.0.1');
    assert.deepEqual(diagnosis?.stateOf(addressesOf(peer)), { isGone: false, hasPeerEnded: false, unread: 0 });
    client.destroy();
  },
);
