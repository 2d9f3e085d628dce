import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { closeFd, inodeOf, isCloseOnExec, openFd } from '../../src/sys/descriptor.ts';
import { listenQueueLength } from '../../src/sys/listen-queue.ts';
import {
  acceptSocket,
  bindSocket,
  connectSocket,
  isListeningStream,
  listenSocket,
  openSocket,
  openSocketPair,
  peerCredentials,
  peerName,
  socketName,
} from '../../src/sys/socket.ts';
import { SystemError } from '../../src/sys/system-error.ts';

function listenOnLoopback(backlog: number): { fd: number; port: number } & Disposable {
  const fd = openSocket('inet');
  bindSocket(fd, { family: 'inet', host: '127.0.0.1', port: 0 });
  listenSocket(fd, backlog);
  const name = socketName(fd);
  assert.ok(name.family === 'inet');
  return { fd, port: name.port, [Symbol.dispose]: () => closeFd(fd) };
}

test('a socket is close-on-exec and not listening until told so', () => {
  const fd = openSocket('inet6');
  try {
    assert.equal(isCloseOnExec(fd), true);
    assert.equal(isListeningStream(fd), false);
    bindSocket(fd, { family: 'inet6', host: '::1', port: 0 });
    listenSocket(fd, 5);
    assert.equal(isListeningStream(fd), true);
  } finally {
    closeFd(fd);
  }
});

test('a listener takes the connections of a Node client', { timeout: 60_000 }, async () => {
  using listener = listenOnLoopback(5);
  assert.equal(acceptSocket(listener.fd), null);
  const client = net.connect(listener.port, '127.0.0.1');
  await once(client, 'connect');
  const accepted = acceptSocket(listener.fd);
  assert.ok(accepted !== null);
  assert.deepEqual(peerName(accepted), { family: 'inet', host: '127.0.0.1', port: client.localPort });
  assert.equal(isCloseOnExec(accepted), true);
  closeFd(accepted);
  client.destroy();
});

test('an error has the name, the number and the call', () => {
  using listener = listenOnLoopback(5);
  const fd = openSocket('inet');
  try {
    assert.throws(
      () => bindSocket(fd, { family: 'inet', host: '127.0.0.1', port: listener.port }),
      (error) =>
        error instanceof SystemError && error.code === 'EADDRINUSE' && error.errno < 0 && error.syscall === 'bind',
    );
  } finally {
    closeFd(fd);
  }
  assert.throws(() => socketName(fd), { code: 'EBADF' });
  const file = openFd('/dev/null', { flags: 0 });
  assert.throws(() => socketName(file), { code: 'ENOTSOCK' });
  closeFd(file);
});

test('the kernel tells the length of an accept queue', { skip: process.platform !== 'linux' && 'Linux only' }, () => {
  using tcp = listenOnLoopback(123);
  assert.equal(listenQueueLength(tcp.fd, { family: 'inet', inode: inodeOf(tcp.fd) }), 123);
  listenSocket(tcp.fd, 77);
  assert.equal(listenQueueLength(tcp.fd, { family: 'inet', inode: inodeOf(tcp.fd) }), 77);
  const unix = openSocket('unix');
  try {
    bindSocket(unix, { family: 'unix', path: `\0grace-test-${process.pid}` });
    listenSocket(unix, 45);
    assert.equal(listenQueueLength(unix, { family: 'unix', inode: inodeOf(unix) }), 45);
  } finally {
    closeFd(unix);
  }
});

test('a connect to nobody is refused', { skip: process.platform !== 'linux' && 'Linux only' }, () => {
  const fd = openSocket('unix');
  try {
    assert.throws(() => connectSocket(fd, { family: 'unix', path: `\0nobody-${process.pid}` }), {
      code: 'ECONNREFUSED',
    });
  } finally {
    closeFd(fd);
  }
});

test('a socket pair knows whose other end it is', { skip: process.platform !== 'linux' && 'Linux only' }, () => {
  const pair = openSocketPair('seqpacket');
  assert.equal(peerCredentials(pair[0]).pid, process.pid);
  assert.equal(peerCredentials(pair[1]).uid, process.getuid?.());
  for (const fd of pair) closeFd(fd);
});
