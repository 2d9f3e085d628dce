/** Urgent bytes (MSG_OOB) among others: they are lost, as with whoever does not ask for them, and nothing else is. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openKernel } from '../../../src/engine/native/kernel.ts';
import { openFunctions } from '../../../src/sys/library.ts';
import { encodeSockaddr } from '../../../src/sys/sockaddr.ts';
import { until } from '../../until.ts';
import { openNative } from '../native-engine.ts';
import { openBackend } from '../peers.ts';
import type { Address } from '../peers.ts';
import { Rig, to } from '../rig.ts';

const AF_INET = 2;
const MSG_OOB = 1;
const MSG_NOSIGNAL = 0x4000;
const URGENT = Buffer.from('!');
const options = { timeout: 60_000, skip: process.platform !== 'linux' && 'Linux only' };

/** A client that can send urgently. */
function openClient(t: TestContext, address: Address) {
  assert.ok('port' in address);
  const { functions } = openFunctions({ send: { args: ['i32', 'bytes', 'u64', 'i32'], result: 'i64' } });
  const kernel = openKernel();
  t.after(() => kernel.closeEpoll());
  const fd = kernel.socket(AF_INET);
  kernel.connect(fd, kernel.address(encodeSockaddr({ family: 'inet', host: '127.0.0.1', port: address.port })));
  /** Returns how many bytes there was room for. */
  const send = (bytes: Uint8Array, flags = 0): number =>
    Math.max(0, Number(functions.send(fd, bytes, BigInt(bytes.length), MSG_NOSIGNAL | flags)));
  return {
    send,
    async sendAll(bytes: Uint8Array, flags = 0) {
      for (let at = 0; at < bytes.length;)
        await until('there is room', () => {
          const sent = send(bytes.subarray(at), flags);
          at += sent;
          return sent > 0;
        });
    },
    close: () => kernel.close(fd),
  };
}

/** How many bytes come, to the end, but for urgent ones: all but the last are no longer urgent when the next one comes. */
async function count(peer: Socket): Promise<number> {
  let bytes = 0;
  for await (const chunk of peer) bytes += (chunk as Buffer).filter((byte) => byte !== URGENT[0]).length;
  return bytes;
}

test('what comes behind urgent bytes in bulk arrives, to its end', options, async (t) => {
  await using rig = new Rig(openNative);
  await using backend = await openBackend();
  const { address } = await rig.forward({ to: to(backend) });
  for (let round = 0; round < 10; round++) {
    const client = openClient(t, address);
    const counted = count(await backend.next());
    for (let part = 0; part < 3; part++) {
      await client.sendAll(Buffer.alloc(500_000, 'x'));
      await client.sendAll(URGENT, MSG_OOB);
    }
    await client.sendAll(Buffer.from('the end'));
    client.close();
    assert.equal(await counted, 1_500_007);
  }
});

test('a client that was urgent before it was connected, and has no room for more, goes on', options, async (t) => {
  await using rig = new Rig(openNative);
  const path = rig.path();
  const { address, upstream } = await rig.forward({ to: to({ path }, { retry: 30_000 }) });
  const client = openClient(t, address);
  await client.sendAll(Buffer.from('x'));
  await client.sendAll(URGENT, MSG_OOB);
  let bytes = 1;
  for (let sent; (sent = client.send(Buffer.alloc(100_000, 'x'))) > 0;) bytes += sent;
  await until('it is dialled for', () => upstream.stats().dialing === 1);
  await using backend = await openBackend({ path });
  const counted = count(await backend.next());
  await client.sendAll(Buffer.from('the end'));
  client.close();
  assert.equal(await counted, bytes + 7);
});
