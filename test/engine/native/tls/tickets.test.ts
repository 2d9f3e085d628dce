/** Sessions are resumed by tickets that the threads seal and open, and records are counted right behind each kind of handshake. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import net from 'node:net';
import tls from 'node:tls';
import { openNativeEngine } from '../../../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../../../src/engine/portable/engine.ts';
import { TICKET_ROTATION_MS } from '../../../../src/engine/policy.ts';
import { fieldAt } from '../../../../src/engine/tally.ts';
import { TicketRing } from '../../../../src/engine/ticket-ring.ts';
import { openEcho } from '../../peers.ts';
import type { Address } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { pemFiles, read, sslFrom } from '../../tls-peers.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();

type Version = 'TLSv1.2' | 'TLSv1.3';
type Visit = { isReused: boolean; session: Buffer; heard: string; tickets: number };
const versions: readonly Version[] = ['TLSv1.2', 'TLSv1.3'];

function openWith(tickets: TicketRing) {
  return () => {
    const portable = openPortableEngine({ tickets });
    const engine = openNativeEngine({ threads: 1, tls: true, portable, tickets });
    assert.ok(engine.speaksTls);
    return engine;
  };
}

/** Have something echoed, and take the newest session along. */
async function visit(address: Address, version: Version, session?: Buffer): Promise<Visit> {
  const carrier = net.connect({ ...address });
  const socket = tls.connect({
    socket: carrier,
    servername: 'www.example.com',
    ca: read(pem().root),
    minVersion: version,
    maxVersion: version,
    ...(session && { session }),
  });
  let newest = session ?? Buffer.alloc(0);
  let tickets = 0;
  socket.on('session', (each: Buffer) => {
    newest = each;
    tickets++;
  });
  await once(socket, 'secureConnect');
  const isReused = socket.isSessionReused();
  socket.write('hello');
  const [heard] = (await once(socket, 'data')) as [Buffer];
  socket.end();
  await once(socket, 'close');
  return { isReused, session: newest, heard: heard.toString(), tickets };
}

test(
  'a ticket is good for as long as its key is one of the two newest, and is renewed in TLS 1.3',
  options,
  async () => {
    let nowMs = 1_000_000_000_000;
    const ring = new TicketRing({ nowMs: () => nowMs });
    await using rig = new Rig(openWith(ring));
    await using echo = await openEcho();
    const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const rotate = () => {
      nowMs += TICKET_ROTATION_MS;
      assert.equal(ring.keys.length, 2);
    };
    const first = new Map<Version, Visit>();
    for (const version of versions) {
      first.set(version, await visit(address, version));
      assert.equal(first.get(version)!.isReused, false);
      const again = await visit(address, version, first.get(version)!.session);
      assert.deepEqual([again.isReused, again.heard], [true, 'hello']);
    }
    rotate();
    const second = new Map<Version, Visit>();
    for (const version of versions) {
      second.set(version, await visit(address, version, first.get(version)!.session));
      assert.deepEqual([version, second.get(version)!.isReused], [version, true]);
    }
    // New sessions in between are sealed with the newest, whatever was opened before.
    const fresh = await visit(address, 'TLSv1.2');
    rotate();
    assert.equal((await visit(address, 'TLSv1.2', fresh.session)).isReused, true);
    assert.equal((await visit(address, 'TLSv1.3', second.get('TLSv1.3')!.session)).isReused, true);
    for (const version of versions) {
      const gone = await visit(address, version, first.get(version)!.session);
      assert.deepEqual([version, gone.isReused, gone.heard], [version, false, 'hello']);
    }
  },
);

test('a handshake gives one ticket, whether it was a full one or resumed a session', options, async () => {
  await using rig = new Rig(openWith(new TicketRing()));
  await using echo = await openEcho();
  const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
  const full = await visit(address, 'TLSv1.3');
  const resumed = await visit(address, 'TLSv1.3', full.session);
  assert.deepEqual([full.isReused, full.tickets, resumed.isReused, resumed.tickets], [false, 1, true, 1]);
});

test('handshakes of clients are counted, and of them those that resumed a session', options, async () => {
  for (const version of versions) {
    await using rig = new Rig(openWith(new TicketRing()));
    await using echo = await openEcho();
    const { address, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const counted = () => [version, 'resumed'].map((name) => upstream.tally()[fieldAt(`tls client ${name}`)]);
    const { session } = await visit(address, version);
    assert.deepEqual(counted(), [1, 0], version);
    for (let count = 1; count <= 2; count++) {
      await visit(address, version, session);
      assert.deepEqual(counted(), [1 + count, count], version);
    }
    await visit(address, version);
    assert.deepEqual(counted(), [4, 2], version);
  }
});

test(
  'another engine with the same keys resumes them, and one with others makes a full handshake',
  options,
  async () => {
    const ring = new TicketRing();
    await using here = new Rig(openWith(ring));
    await using echo = await openEcho();
    const { address, listener } = await here.forward({ to: to(echo), from: sslFrom(pem(), { port: 1 }) });
    void listener;
    void ring.keys;
    await using there = new Rig(openWith(new TicketRing({ snapshot: ring.snapshot })));
    const other = await there.forward({ to: to(echo), from: sslFrom(pem(), { port: 1 }) });
    await using elsewhere = new Rig(openWith(new TicketRing()));
    const stranger = await elsewhere.forward({ to: to(echo), from: sslFrom(pem(), { port: 1 }) });
    for (const version of versions) {
      const { session } = await visit(address, version);
      assert.equal((await visit(other.address, version, session)).isReused, true, version);
      assert.equal((await visit(stranger.address, version, session)).isReused, false, version);
    }
  },
);

test('keys of a file seal and open, the first and the others, over a reload', options, async () => {
  await using rig = new Rig(openWith(new TicketRing()));
  await using echo = await openEcho();
  const [a, b] = [randomBytes(80), randomBytes(80)];
  const ticketKeys = join(rig.dir, 'tickets');
  writeFileSync(ticketKeys, a);
  const { address, frontend } = await rig.forward({ to: to(echo), from: sslFrom(pem(), { ticketKeys }) });
  const sessions = new Map<Version, Buffer>();
  for (const version of versions) sessions.set(version, (await visit(address, version)).session);
  const areReused = async (expected: boolean) => {
    for (const version of versions)
      assert.equal((await visit(address, version, sessions.get(version))).isReused, expected, version);
  };
  await areReused(true);
  writeFileSync(ticketKeys, Buffer.concat([b, a]));
  frontend.reload();
  await areReused(true);
  writeFileSync(ticketKeys, 'rubbish');
  assert.match(frontend.reload().join(), /it does not hold 1 to 16 keys/);
  await areReused(true);
  writeFileSync(ticketKeys, b);
  frontend.reload();
  await areReused(false);
});

test('openssl resumes sessions of both versions, and what it says arrives', options, async () => {
  await using rig = new Rig(openWith(new TicketRing()));
  await using echo = await openEcho();
  const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
  const { port } = address as { port: number };
  const file = join(rig.dir, 'session');
  const say = (...args: string[]) =>
    new Promise<string>((resolve, reject) => {
      const all = ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', pem().root, ...args];
      const child = execFile('openssl', all, (error, stdout) => (error ? reject(error) : resolve(stdout)));
      let said = '';
      child.stdout?.on('data', (text: string) => {
        said += text;
        if (said.includes('hello openssl')) child.stdin?.end('Q\n');
      });
      child.stdin?.write('hello openssl\n');
    });
  for (const version of ['-tls1_2', '-tls1_3']) {
    assert.match(await say(version, '-sess_out', file), /New, TLSv1\.[23], Cipher/);
    for (let visits = 0; visits < 2; visits++)
      assert.match(await say(version, '-sess_in', file, '-sess_out', file), /Reused, TLSv1\.[23], Cipher/);
  }
  // None at all.
  assert.match(await say('-tls1_2', '-no_ticket'), /New, TLSv1\.2, Cipher/);
});
