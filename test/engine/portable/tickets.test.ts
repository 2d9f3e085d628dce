/** Sessions that are resumed: over reloads, over processes, with keys of a file. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import type { SslServer } from '../../../src/endpoint/model.ts';
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { TICKET_ROTATION_MS } from '../../../src/engine/policy.ts';
import { fieldAt } from '../../../src/engine/tally.ts';
import { TicketRing } from '../../../src/engine/ticket-ring.ts';
import { makeCertificate } from '../../endpoint/pem.ts';
import { openEcho } from '../peers.ts';
import type { Address } from '../peers.ts';
import { Rig, to } from '../rig.ts';
import type { Forward } from '../rig.ts';
import { pemFiles, read, sslFrom } from '../tls-peers.ts';

const timeout = 60_000;
const skip = 'Deno' in globalThis && 'its TLS resumes no session by a key of ours';
const pem = pemFiles();
const versions = ['TLSv1.2', 'TLSv1.3'] as const;
type Version = (typeof versions)[number];

type Session = { isReused: boolean; session: Buffer | undefined };

/** Say something over TLS, and hear it. */
function talk(address: Address, version: Version, session?: Buffer, identity: object = {}): Promise<Session> {
  return new Promise((resolve, reject) => {
    const options = { ca: read(pem().root), servername: 'www.example.com', minVersion: version, maxVersion: version };
    const socket = connect({ ...(address as { port: number }), ...options, ...identity, ...(session && { session }) });
    let last: Buffer | undefined;
    let isReused = false;
    socket.on('session', (each: Buffer) => (last = each));
    socket.once('secureConnect', () => {
      isReused = socket.isSessionReused();
      socket.write('hello');
    });
    socket.once('data', () => {
      // One of TLS 1.2 that was resumed has no event of its own.
      last ??= socket.getSession();
      socket.end();
    });
    socket.once('error', reject).once('close', () => resolve({ isReused, session: last }));
  });
}

/** The same listener, as an engine of another process would serve it. */
async function serving(
  tickets: TicketRing,
  extras: Partial<SslServer>,
  act: (forward: Forward) => Promise<void>,
): Promise<void> {
  await using rig = new Rig((options) => openPortableEngine({ ...options, tickets }));
  await using echo = await openEcho();
  await act(await rig.forward({ to: to(echo), from: sslFrom(pem(), { port: 4433, ...extras }) }));
}

for (const version of versions) {
  test(
    `a session outlives reload and process, and the key before the last (${version})`,
    { timeout, skip },
    async () => {
      let now = Date.now();
      const ring = new TicketRing({ nowMs: () => now });
      let session: Buffer | undefined;
      await serving(ring, {}, async ({ address, frontend }) => {
        const first = await talk(address, version);
        assert.equal(first.isReused, false);
        session = first.session;
        frontend.reload();
        assert.equal((await talk(address, version, session)).isReused, true);
      });
      const successor = new TicketRing({ snapshot: ring.snapshot, nowMs: () => now });
      await serving(successor, {}, async ({ address }) => {
        assert.equal((await talk(address, version, session)).isReused, true);
        now += TICKET_ROTATION_MS;
        const again = await talk(address, version, session);
        assert.equal(again.isReused, true);
        now += TICKET_ROTATION_MS;
        assert.equal((await talk(address, version, session)).isReused, false);
        // What was resumed with the older key was sealed anew with the newer.
        assert.equal((await talk(address, version, again.session)).isReused, true);
      });
    },
  );
}

test('handshakes of clients are counted, and of them those that resumed a session', { timeout, skip }, async () => {
  const { dir, root } = pem();
  makeCertificate(dir, { name: 'guest', subject: 'guest', extensions: [], issuer: 'root' });
  const identity = { key: read(join(dir, 'guest.key')), cert: read(join(dir, 'guest.crt')) };
  // One whose clients are asked for a certificate notes what they are itself.
  for (const extras of [{}, { clientCA: root }]) {
    for (const version of versions) {
      await serving(new TicketRing(), extras, async ({ address, upstream }) => {
        const counted = () => [version, 'resumed'].map((name) => upstream.tally()[fieldAt(`tls client ${name}`)]);
        const { session } = await talk(address, version, undefined, identity);
        assert.deepEqual(counted(), [1, 0], version);
        assert.equal((await talk(address, version, session, identity)).isReused, true);
        assert.deepEqual(counted(), [2, 1], version);
        await talk(address, version, undefined, identity);
        assert.deepEqual(counted(), [3, 1], version);
      });
    }
  }
});

test('keys of a file are shared by servers, and taken when they are read again', { timeout, skip }, async () => {
  const path = join(pem().dir, 'ticket-keys');
  const [older, newer] = [randomBytes(80), randomBytes(80)];
  writeFileSync(path, older);
  let session: Buffer | undefined;
  await serving(new TicketRing(), { ticketKeys: path }, async ({ address }) => {
    session = (await talk(address, 'TLSv1.3')).session;
  });
  await serving(new TicketRing(), { ticketKeys: path }, async ({ address, frontend }) => {
    writeFileSync(path, Buffer.concat([newer, older]));
    frontend.reload();
    assert.equal((await talk(address, 'TLSv1.3', session)).isReused, true);
    writeFileSync(path, newer);
    frontend.reload();
    assert.equal((await talk(address, 'TLSv1.3', session)).isReused, false);
  });
});

test(
  'a session that began without a certificate is not resumed where one is asked for',
  { timeout, skip },
  async () => {
    const ring = new TicketRing();
    const { dir, root } = pem();
    makeCertificate(dir, { name: 'member', subject: 'member', extensions: [], issuer: 'root' });
    const identity = { key: read(join(dir, 'member.key')), cert: read(join(dir, 'member.crt')) };
    let session: Buffer | undefined;
    await serving(ring, {}, async ({ address }) => {
      session = (await talk(address, 'TLSv1.3')).session;
    });
    await serving(ring, { clientCA: root }, async ({ address }) => {
      const fresh = await talk(address, 'TLSv1.3', session, identity);
      assert.equal(fresh.isReused, false);
      assert.equal((await talk(address, 'TLSv1.3', fresh.session, identity)).isReused, true);
    });
  },
);

test('a ticket that nobody here has sealed is a full handshake', { timeout, skip }, async () => {
  for (const version of versions) {
    let session: Buffer | undefined;
    await serving(new TicketRing(), {}, async ({ address }) => {
      session = (await talk(address, version)).session;
    });
    await serving(new TicketRing(), {}, async ({ address }) => {
      assert.equal((await talk(address, version, session)).isReused, false);
    });
  }
});

test('a ring forgets what is too old, and starts anew when the clock was set back', { timeout }, () => {
  let now = 1e12;
  let changes = 0;
  const ring = new TicketRing({ nowMs: () => now, changed: () => changes++ });
  assert.equal(ring.isUsed, false);
  const [first] = ring.keys;
  assert.deepEqual([ring.keys.length, ring.isUsed, changes], [1, true, 1]);
  const late = new TicketRing({ snapshot: ring.snapshot, nowMs: () => now + 3 * TICKET_ROTATION_MS });
  assert.equal(late.keys.length, 1);
  assert.notDeepEqual(late.keys[0], first);
  now += TICKET_ROTATION_MS;
  assert.deepEqual(ring.keys[1], first);
  assert.equal(changes, 2);
  now -= 1000;
  assert.deepEqual([ring.keys.length, changes], [1, 3]);
  assert.equal(new TicketRing({ snapshot: { keys: ['AAAA'], sinceMs: now } }).isUsed, false);
});
