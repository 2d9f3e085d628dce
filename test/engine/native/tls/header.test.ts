/** PROXY headers in front of TLS that the threads of the native engine end. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { test } from 'node:test';
import type { BindableServer } from '../../../../src/endpoint/model.ts';
import { proxyHeader } from '../../../../src/engine/proxy-header.ts';
import type { ProxySubject } from '../../../../src/engine/proxy-header.ts';
import { readProxyHeader } from '../../../../src/engine/proxy-parser.ts';
import { openNativeTls } from '../../native-engine.ts';
import { endingOf, openBackend, readAll } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { connectTls, pemFiles, read, sslFrom } from '../../tls-peers.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const ends: ProxySubject = {
  client: { host: '192.0.2.7', port: 4711 },
  accepted: { host: '198.51.100.1', port: 443 },
};

const sources: readonly { name: string; from: () => Partial<BindableServer> }[] = [
  { name: 'proxy=accept', from: () => ({ ...sslFrom(pem()), proxy: 'accept' }) as Partial<BindableServer> },
  {
    name: 'haproxy:',
    from: () => ({ type: 'haproxy', endpoint: sslFrom(pem()) }) as unknown as Partial<BindableServer>,
  },
];

for (const { name, from } of sources) {
  test(`${name}: the handshake begins behind the header, and the destination is told of both`, options, async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend, { proxy: 'v2' }), from: from() });
    const sent = randomBytes(300_000);
    for (const version of ['v1', 'v2'] as const) {
      const client = await connectTls(address, { ca: read(pem().root) }, proxyHeader(version, ends));
      const peer = await backend.next();
      const received = readAll(peer);
      client.end(sent);
      const came = Buffer.from(await received, 'latin1');
      const header = readProxyHeader(came)!;
      assert.deepEqual(header.ends, ends);
      const ssl = header.fields.find(({ type }) => type === 0x20)!;
      assert.ok(Buffer.from(ssl.value).toString('latin1').includes('TLSv1.3'));
      assert.ok(came.subarray(header.length).equals(sent));
      const answer = readAll(client);
      peer.end('answer');
      assert.equal(await answer, 'answer');
    }
    const ended = await rig.endedConnections(2);
    assert.deepEqual(
      ended.map(({ peer, error }) => [peer, error]),
      [
        ['192.0.2.7:4711', null],
        ['192.0.2.7:4711', null],
      ],
    );
  });

  test(`${name}: TLS without a header is refused, and so is a header without TLS`, options, async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: from() });
    await assert.rejects(connectTls(address, { ca: read(pem().root) }));
    await rig.endedConnections(1); // threads tell of theirs each for itself
    const client = net.connect({ ...address });
    client.write(Buffer.concat([proxyHeader('v1', ends), Buffer.from('this is no TLS')]));
    client.resume();
    await endingOf(client);
    const [first, second] = await rig.endedConnections(2);
    assert.equal(first?.reason, 'proxy-refused');
    assert.equal(second?.reason, 'handshake-failed');
  });
}
