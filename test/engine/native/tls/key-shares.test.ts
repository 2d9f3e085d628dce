/** Key exchanges that a ClientHello to a destination has ready. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { openNativeTls } from '../../native-engine.ts';
import { readAll } from '../../peers.ts';
import { Rig } from '../../rig.ts';
import { openTlsBackend, pemFiles, read, sslTo } from '../../tls-peers.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const [X25519MLKEM768, X25519, P384] = [0x11ec, 0x1d, 0x18];

type Hello = { groups: number[]; shares: number[] };

/** Groups and key shares of the ClientHello that these bytes begin with (RFC 8446, sections 4.1.2, 4.2.7 and 4.2.8). */
function parse(bytes: Buffer): Hello {
  let at = 5 + 4 + 2 + 32;
  at += 1 + bytes[at]!;
  at += 2 + bytes.readUInt16BE(at);
  at += 1 + bytes[at]!;
  const end = at + 2 + bytes.readUInt16BE(at);
  const hello: Hello = { groups: [], shares: [] };
  for (at += 2; at < end; at += 4 + bytes.readUInt16BE(at + 2)) {
    const [type, body, until] = [bytes.readUInt16BE(at), at + 4, at + 4 + bytes.readUInt16BE(at + 2)];
    if (type === 10) for (let group = body + 2; group < until; group += 2) hello.groups.push(bytes.readUInt16BE(group));
    if (type === 51)
      for (let share = body + 2; share < until; share += 4 + bytes.readUInt16BE(share + 2))
        hello.shares.push(bytes.readUInt16BE(share));
  }
  return hello;
}

test('what the destination took last is ready, and all else is offered as ever', options, async () => {
  await using rig = new Rig(openNativeTls);
  let ecdhCurve = 'X25519';
  const backends = new Map<string, Awaited<ReturnType<typeof openTlsBackend>>>();
  const backendOf = async (curve: string) => {
    const known = backends.get(curve);
    if (known !== undefined) return known;
    const opened = await openTlsBackend({ key: read(pem().key), cert: read(pem().fullChain), ecdhCurve: curve });
    backends.set(curve, opened);
    return opened;
  };
  const hellos: Hello[] = [];
  const relay = net.createServer({ allowHalfOpen: true }, async (socket) => {
    socket.on('error', () => {});
    const { port } = await backendOf(ecdhCurve);
    const behind = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    behind.on('error', () => {});
    socket.once('data', (data: Buffer) => hellos.push(parse(data)));
    socket.pipe(behind).pipe(socket);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  try {
    const { connect } = await rig.forward({ to: sslTo((relay.address() as net.AddressInfo).port, pem()) });
    const visit = async (curve: string) => {
      ecdhCurve = curve;
      const client = await connect();
      const peer = await (await backendOf(curve)).next();
      client.end('question');
      peer.end('answer');
      assert.equal(await readAll(client), 'answer');
      assert.equal(await readAll(peer), 'question');
      return hellos.at(-1)!;
    };
    const first = await visit('X25519');
    assert.deepEqual(first.shares, [X25519MLKEM768, X25519]);
    for (const [curve, ready] of [
      ['X25519', X25519],
      ['P-384', X25519],
      ['P-384', P384],
      ['X25519MLKEM768', P384],
      ['X25519MLKEM768:X25519', X25519MLKEM768],
    ] as const)
      assert.deepEqual(await visit(curve), { groups: first.groups, shares: [ready] }, curve);
  } finally {
    relay.close();
    for (const backend of backends.values()) await backend[Symbol.asyncDispose]();
  }
});
