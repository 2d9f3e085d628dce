/** What a client sends right behind its Finished, in the same segment: it is the first that comes through. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import tls from 'node:tls';
import { openNativeTls } from '../../native-engine.ts';
import type { Address } from '../../peers.ts';
import { openBackend, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { pemFiles, sslFrom } from '../../tls-peers.ts';
import { cut } from './leg.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();

type Spoken = { client: tls.TLSSocket; session: Promise<Buffer> };

/**
 * Shake hands; all from what answers the server's first flight on is sent in one go, or in pieces of so many bytes, once `first` has been
 * sealed behind it.
 */
async function speak(
  address: Address,
  first: Buffer,
  { pieces, ...extras }: tls.ConnectionOptions & { pieces: number },
): Promise<Spoken> {
  const carrier = net.connect({ ...address, noDelay: true });
  carrier.on('error', () => {});
  const held: Buffer[] = [];
  let [hasSpoken, isHolding] = [false, true];
  const stream = new Duplex({
    read() {},
    write(bytes: Buffer, _, done) {
      if (hasSpoken && isHolding) held.push(bytes);
      else carrier.write(bytes);
      hasSpoken = true;
      done();
    },
    final(done) {
      carrier.end();
      done();
    },
  });
  carrier.on('data', (data: Buffer) => stream.push(data)).on('end', () => stream.push(null));
  const client = tls.connect({ socket: stream, servername: 'www.example.com', rejectUnauthorized: false, ...extras });
  client.on('error', () => {});
  const session = new Promise<Buffer>((resolve) => client.once('session', resolve));
  await once(client, 'secureConnect');
  await new Promise<void>((resolve) => client.write(first, () => resolve()));
  isHolding = false;
  const all = Buffer.concat(held);
  assert.ok(all.length > first.length);
  for (const piece of cut(all, () => pieces)) carrier.write(piece);
  return { client, session };
}

const versions = ['TLSv1.3', 'TLSv1.2'] as const;
for (const version of versions)
  for (const [pieces, size] of [
    [Infinity, 5],
    [Infinity, 200_000],
    [1, 5],
    [1460, 40_000],
  ] as const)
    test(
      `${version}: ${size} bytes behind Finished, ${pieces === Infinity ? 'in one go' : `in pieces of ${pieces}`}, come through`,
      options,
      async () => {
        await using rig = new Rig(openNativeTls);
        await using backend = await openBackend();
        const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
        let session: Buffer | undefined;
        // Of TLS 1.2 only a session that is resumed ends with the client's Finished.
        for (const isResumed of [false, true]) {
          const isLate = version === 'TLSv1.2' && !isResumed;
          const first = randomBytes(size);
          const limits = { minVersion: version, maxVersion: version, ...(session && { session }) };
          if (isLate) {
            const client = tls.connect({
              ...address,
              ...limits,
              servername: 'www.example.com',
              rejectUnauthorized: false,
            });
            const coming = once(client, 'session') as Promise<[Buffer]>;
            await once(client, 'secureConnect');
            client.on('error', () => {});
            [session] = await coming;
            (await backend.next()).end();
            client.destroy();
            await rig.endedConnections(1);
            continue;
          }
          const spoken = await speak(address, first, { ...limits, pieces });
          assert.equal(spoken.client.isSessionReused(), isResumed);
          const peer = await backend.next();
          assert.ok(Buffer.from(await readBytes(peer, size), 'latin1').equals(first));
          peer.write('heard');
          assert.equal(await readBytes(spoken.client, 5), 'heard');
          if (!isResumed) session = await spoken.session;
          spoken.client.destroy();
          peer.destroy();
        }
      },
    );
