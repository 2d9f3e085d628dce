/** Too many handshakes at once, with the threads of the native engine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNativeTls } from '../../native-engine.ts';
import { openEcho, readAll } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { connectTls, pemFiles, read, sslFrom } from '../../tls-peers.ts';
import { tlsOverloadSuite } from '../../tls-overload-suite.ts';
import { letGoOn, poise } from './flights.ts';

const skip = process.platform !== 'linux' || 'Deno' in globalThis;
const pem = pemFiles();

if (!skip) tlsOverloadSuite(openNativeTls);

test('what was begun is finished before others begin', { timeout: 60_000, skip }, async () => {
  await using rig = new Rig(openNativeTls, { handshakeLimit: 8, handshakeTimeoutMs: 3_600_000 });
  await using echo = await openEcho();
  const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
  const first = Buffer.from('let me in');
  const poised = await Promise.all(Array.from({ length: 8 }, () => poise(address, { flight: 2, first })));
  const ca = read(pem().root);
  for (let index = 0; index < 20; index++) await assert.rejects(connectTls(address, { ca }));
  for (const { error } of await rig.endedConnections(20)) assert.match(error?.message ?? '', /more than 8 under way/);
  for (const each of poised) await letGoOn(each, first);
  const late = await connectTls(address, { ca });
  late.end('me too');
  assert.equal(await readAll(late), 'me too');
});
