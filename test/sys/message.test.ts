import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFd, inodeOf, isCloseOnExec, openFd } from '../../src/sys/descriptor.ts';
import { MAX_FDS_PER_MESSAGE, receiveMessage, sendMessage } from '../../src/sys/message.ts';
import { bindSocket, openSocket, openSocketPair } from '../../src/sys/socket.ts';
import type { SocketType } from '../../src/sys/socket.ts';

function makePair(type: SocketType): { pair: [number, number] } & Disposable {
  const pair = openSocketPair(type);
  return { pair, [Symbol.dispose]: () => pair.forEach(closeFd) };
}

test('descriptors arrive with their message, for the same open files and close-on-exec', () => {
  using sockets = makePair('seqpacket');
  const [a, b] = sockets.pair;
  const sent = [openFd('/dev/null', { flags: 0 }), openFd('/', { flags: 0 }), a];
  assert.equal(sendMessage(a, Uint8Array.of(1, 2, 3), { fds: sent }), 3);
  const message = receiveMessage(b, { size: 10, maxFds: 5 });
  assert.ok(message !== null);
  assert.deepEqual([...message.data], [1, 2, 3]);
  assert.deepEqual(message.fds.map(inodeOf), sent.map(inodeOf));
  assert.ok(message.fds.every(isCloseOnExec));
  assert.equal(message.fdsTruncated, false);
  [...message.fds, sent[0]!, sent[1]!].forEach(closeFd);
});

test('as many descriptors as the system takes go in one message, and more are refused before', () => {
  using sockets = makePair('stream');
  const [a, b] = sockets.pair;
  const fds = Array<number>(MAX_FDS_PER_MESSAGE).fill(a);
  sendMessage(a, Uint8Array.of(1), { fds });
  const message = receiveMessage(b, { size: 1, maxFds: MAX_FDS_PER_MESSAGE });
  assert.equal(message?.fds.length, MAX_FDS_PER_MESSAGE);
  message.fds.forEach(closeFd);
  assert.throws(() => sendMessage(a, Uint8Array.of(1), { fds: [...fds, a] }), RangeError);
});

test('too little room is told, for descriptors and for data', () => {
  using sockets = makePair('seqpacket');
  const [a, b] = sockets.pair;
  sendMessage(a, new Uint8Array(100), { fds: [a, b] });
  const message = receiveMessage(b, { size: 10 });
  assert.ok(message !== null);
  assert.deepEqual(
    [message.data.length, message.fds.length, message.fdsTruncated, message.dataTruncated],
    [10, 0, true, true],
  );
});

test('nothing to read is null, the end is empty, and a peer that is gone is EPIPE', () => {
  const [a, b] = openSocketPair('stream');
  assert.equal(receiveMessage(b, { size: 1 }), null);
  closeFd(a);
  assert.equal(receiveMessage(b, { size: 1 })?.data.length, 0);
  assert.throws(() => sendMessage(b, Uint8Array.of(1)), { code: 'EPIPE' });
  closeFd(b);
});

test('a datagram goes to an address', { skip: process.platform !== 'linux' && 'Linux only' }, () => {
  const [receiver, sender] = [openSocket('unix', 'datagram'), openSocket('unix', 'datagram')];
  const to = { family: 'unix', path: `\0grace-datagram-${process.pid}` } as const;
  bindSocket(receiver, to);
  sendMessage(sender, new TextEncoder().encode('hello'), { to, fds: [sender] });
  const message = receiveMessage(receiver, { size: 100, maxFds: 1 });
  assert.equal(new TextDecoder().decode(message?.data), 'hello');
  [receiver, sender, ...(message?.fds ?? [])].forEach(closeFd);
});
