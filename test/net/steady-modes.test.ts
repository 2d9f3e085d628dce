import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { openListener } from '../../src/net/open.ts';
import { keepModes } from '../../src/net/steady-modes.ts';
import { closeFd, isNonBlocking, openFd, setNonBlocking } from '../../src/sys/descriptor.ts';
import { acceptSocket, receiveTimeout } from '../../src/sys/socket.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' && 'Linux only' };
const isDeno = 'Deno' in globalThis;

test('an accept does not hang while a child makes the socket blocking', options, async () => {
  using temp = makeTempDir();
  const tcp = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 5 }, { name: '' });
  const unix = await openListener({ kind: 'unix', path: temp.file('s'), mode: 0o600, backlog: 5 }, { name: '' });
  for (const { fd } of [tcp, unix]) {
    keepModes({ listeners: [fd], others: [] }, () => {
      // What Deno's child does; Node's does not, and nothing is done about it there.
      setNonBlocking(fd, !isDeno);
      assert.equal(acceptSocket(fd), null);
    });
    assert.equal(isNonBlocking(fd), true);
    assert.equal(receiveTimeout(fd), 0);
  }
  unix.close();
  assert.ok(tcp.address.family !== 'unix');
  const client = net.connect(tcp.address.port, '127.0.0.1');
  await once(client, 'connect');
  const accepted = acceptSocket(tcp.fd);
  assert.ok(accepted !== null);
  assert.equal(receiveTimeout(accepted), 0);
  closeFd(accepted);
  client.destroy();
  tcp.close();
});

test('modes are as before even when nothing was started', options, async () => {
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 5 }, { name: '' });
  const file = openFd('/dev/null', { flags: 0 });
  assert.throws(
    () =>
      keepModes({ listeners: [listener.fd], others: [file] }, () => {
        throw new Error('no such program');
      }),
    /no such program/,
  );
  assert.deepEqual([isNonBlocking(listener.fd), isNonBlocking(file), receiveTimeout(listener.fd)], [true, false, 0]);
  closeFd(file);
  listener.close();
});
