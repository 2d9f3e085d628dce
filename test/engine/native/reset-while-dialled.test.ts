/** What an upstream sees of clients that are reset before it is known to be connected. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { openKernel } from '../../../src/engine/native/kernel.ts';
import { encodeSockaddr } from '../../../src/sys/sockaddr.ts';
import { openNative } from '../native-engine.ts';
import { endingOf } from '../peers.ts';
import { Rig } from '../rig.ts';

const AF_INET = 2;
const CLIENTS = 300;
const skip = (process.platform !== 'linux' && 'Linux only') || ('Deno' in globalThis && 'Deno shows a reset as an end');

test(
  'of a client that is reset at once, its upstream sees a reset, and no end without a word',
  { timeout: 60_000, skip },
  async (t) => {
    await using rig = new Rig(openNative);
    const endings: Promise<'end' | 'reset'>[] = [];
    const server = createServer((peer) => endings.push(endingOf(peer))).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { address } = await rig.forward({
      to: { type: 'tcp', host: '127.0.0.1', port, timeout: 5, bindAddress: null },
    });
    assert.ok('port' in address);
    const kernel = openKernel();
    t.after(() => kernel.closeEpoll());
    const source = kernel.address(encodeSockaddr({ family: 'inet', host: '127.0.0.1', port: address.port }));
    for (let count = 0; count < CLIENTS; count++) {
      const client = kernel.socket(AF_INET);
      // On this machine the other end has it as soon as this returns.
      kernel.connect(client, source);
      for (let moment = 0; moment < (count % 10) * 200; moment++) performance.now();
      kernel.closeWithReset(client);
      await rig.endedConnections(count + 1);
    }
    assert.deepEqual(
      (await Promise.all(endings)).filter((ending) => ending === 'end'),
      [],
    );
  },
);
