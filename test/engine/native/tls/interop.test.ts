/** Peers of other make, in the middle of whose streams keys change and connections move. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { openBackend, openEcho, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { pemFiles, sslFrom } from '../../tls-peers.ts';
import { Passage } from './passage.ts';

const run = promisify(execFile);
const isThere = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const isNative = process.platform === 'linux' && !('Deno' in globalThis);
const needs = (command: string, ...args: string[]) => ({
  timeout: 120_000,
  skip: !isNative || (!isThere(command, ...args) && `${command} is not installed`),
});
const pem = pemFiles();

test('curl is answered, with TLS 1.3 and 1.2', needs('curl', '--version'), async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openBackend();
  const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
  for (const version of ['--tlsv1.3', '--tls-max 1.2']) {
    const { port } = address as { port: number };
    const answer = run('curl', [
      '-s',
      '--cacert',
      pem().root,
      ...version.split(' '),
      '--resolve',
      `www.example.com:${port}:127.0.0.1`,
      `https://www.example.com:${port}/`,
    ]);
    const peer = await backend.next();
    await readBytes(peer, 3);
    peer.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello');
    assert.equal((await answer).stdout, 'hello');
  }
});

test(
  'openssl changes keys as it likes, and asks for ours, before and after a move',
  needs('openssl', 'version'),
  async () => {
    await using here = new Rig(openNativeTls);
    await using there = new Rig(openNativeTls);
    using passage = new Passage();
    await using backend = await openBackend();
    const { address, upstream } = await here.forward({ to: to(backend), from: sslFrom(pem()) });
    const { port } = address as { port: number };
    const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_3', '-CAfile', pem().root];
    const client = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const peer = await backend.next();
    let printed = '';
    client.stdout.on('data', (data: Buffer) => (printed += data.toString('latin1')));
    let errors = '';
    client.stderr.on('data', (data: Buffer) => (errors += data.toString('latin1')));
    const updates = () => errors.split('KEYUPDATE').length;
    const say = async (line: string) => {
      const told = updates();
      client.stdin.write(`${line}\n`);
      // A command, and what is read together with it is lost.
      if (line === 'K' || line === 'k') {
        while (updates() === told) await once(client.stderr, 'data');
        return;
      }
      assert.equal(await readBytes(peer, line.length + 1), `${line}\n`);
      peer.write(`${line} heard\n`);
      while (!printed.includes(`${line} heard`)) await once(client.stdout, 'data');
    };
    let [from, next] = [
      [here.engine as NativeEngine, upstream] as const,
      [there.engine as NativeEngine, there.upstream(upstream.endpoint)] as const,
    ];
    for (let round = 0; round < 6; round++) {
      await say(`first ${round}`);
      await say(round % 2 === 0 ? 'K' : 'k');
      await say(`second ${round}`);
      assert.equal(await passage.move(from, next), 1);
      [from, next] = [next, from];
      await say(`third ${round}`);
    }
    client.stdin.end('Q\n');
    peer.end();
    await once(client, 'exit');
    await from[1].drained();
  },
);

test('Java, which changes keys all the time, has every byte echoed over moves', needs('java', '-version'), async () => {
  await using here = new Rig(openNativeTls);
  await using there = new Rig(openNativeTls);
  using passage = new Passage();
  await using echo = await openEcho();
  const { address, upstream } = await here.forward({ to: to(echo), from: sslFrom(pem()) });
  const security = join(here.dir, 'java.security');
  writeFileSync(security, 'jdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate 2^16\n');
  const { port } = address as { port: number };
  const program = join(import.meta.dirname, 'fixtures', 'Echoed.java');
  const args = [`-Djava.security.properties=${security}`, program, String(port), '12000000', 'TLS_AES_256_GCM_SHA384'];
  const client = run('java', args);
  let isOver = false;
  void client.then(
    () => (isOver = true),
    () => (isOver = true),
  );
  let [from, next] = [
    [here.engine as NativeEngine, upstream] as const,
    [there.engine as NativeEngine, there.upstream(upstream.endpoint)] as const,
  ];
  let moves = 0;
  while (!isOver) {
    const before = from[1].stats().bytesOut;
    let moved = 0;
    await until(
      'its connection has moved, or it is over',
      async () => isOver || (moved = await passage.move(from, next)) > 0,
    );
    moves += moved;
    [from, next] = [next, from];
    await until(
      'some bytes have come back from here, or it is over',
      () => isOver || from[1].stats().bytesOut >= before + 200_000 || from[1].stats().connections === 0,
    );
  }
  assert.equal((await client).stdout, 'every byte\n');
  assert.ok(moves > 3, `${moves} moves`);
});
