/** Memory, numbers and answers that cross the border to the kernel. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EPOLLIN, EPOLLOUT } from '../../../src/engine/native/epoll-events.ts';
import { EAGAIN, EINPROGRESS } from '../../../src/engine/native/errno.ts';
import { openKernel } from '../../../src/engine/native/kernel.ts';
import { KIND_CLIENT, ConnectionTable } from '../../../src/engine/native/connection-table.ts';
import { CLOSED_ROUTE, Route } from '../../../src/engine/native/route.ts';
import { openListener } from '../../../src/net/open.ts';
import { closeFd, setNonBlocking } from '../../../src/sys/descriptor.ts';
import { sendMessage } from '../../../src/sys/message.ts';
import { encodeSockaddr } from '../../../src/sys/sockaddr.ts';
import { acceptSocket, openSocketPair } from '../../../src/sys/socket.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };

/** Make the collector run, the old generation included, and memory be used anew. */
function stirMemory(rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    const pieces: Uint8Array[] = [];
    for (let piece = 0; piece < 2000; piece++) pieces.push(new Uint8Array(piece % 2 === 0 ? 16 : 4096).fill(0xee));
  }
}

test('many events of one wait come with their descriptors, generations and masks, on this processor', options, () => {
  const kernel = openKernel();
  const pairs = Array.from({ length: 50 }, () => openSocketPair());
  const expected = new Map<number, [number, number]>();
  pairs.forEach(([fd, other], index) => {
    const generation = index % 2 === 0 ? index * 40_000_000 : -1 - index;
    assert.equal(kernel.watch(fd, index % 5 === 0 ? EPOLLIN | EPOLLOUT : EPOLLIN, generation), 0);
    sendMessage(other, new Uint8Array(1));
    expected.set(fd, [generation, index % 5 === 0 ? EPOLLIN | EPOLLOUT : EPOLLIN]);
  });
  const count = kernel.wait(0);
  const events = new Map(
    Array.from({ length: count }, (_, index) => [
      kernel.eventFd(index),
      [kernel.eventGeneration(index), kernel.eventMask(index)],
    ]),
  );
  assert.deepEqual(events, expected);
  for (const fd of pairs.flat()) closeFd(fd);
  kernel.closeEpoll();
});

test('the errno is that of the call before it, whatever the collector does meanwhile', options, async () => {
  const kernel = openKernel();
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 5 }, { name: 'test' });
  const fd = listener.dup();
  setNonBlocking(fd, true);
  for (let round = 0; round < 20_000; round++) {
    if (round % 500 === 0) stirMemory(1);
    const garbage = Array.from({ length: 20 }, (_, index) => ({ index }));
    if (kernel.accept(fd) !== -EAGAIN || garbage.length !== 20) assert.fail(`round ${round}`);
  }
  closeFd(fd);
  listener.close();
  kernel.closeEpoll();
});

test('an address stays where it is for as long as somebody has it', options, async () => {
  const kernel = openKernel();
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 100 }, { name: 'test' });
  if (listener.address.family === 'unix') throw new TypeError('it is TCP');
  const sockaddr = encodeSockaddr({ family: 'inet', host: '127.0.0.1', port: listener.address.port });
  const addresses = Array.from({ length: 50 }, () => kernel.address(sockaddr));
  stirMemory(40);
  const queue = listener.dup();
  setNonBlocking(queue, true);
  for (const address of addresses) {
    const fd = kernel.socket(2);
    assert.ok([0, -EINPROGRESS].includes(kernel.connect(fd, address)));
    const accepted = acceptSocket(queue);
    assert.notEqual(accepted, null);
    closeFd(accepted!);
    kernel.close(fd);
  }
  closeFd(queue);
  listener.close();
  kernel.closeEpoll();
});

test('what was read stays whole while memory is used anew', options, () => {
  const kernel = openKernel();
  const [near, far] = openSocketPair();
  const sent = Uint8Array.from({ length: 10_000 }, (_, index) => index);
  sendMessage(far, sent);
  assert.equal(kernel.receive(near), sent.length);
  stirMemory(20);
  assert.deepEqual(kernel.input.subarray(0, sent.length), sent);
  // Bytes of its own, short enough for the moving heap.
  const short = new Uint8Array(new ArrayBuffer(7));
  short.set([1, 2, 3, 4, 5, 6, 7]);
  stirMemory(20);
  assert.equal(kernel.send(far, short), 7);
  assert.equal(kernel.receive(near), 7);
  assert.deepEqual([...kernel.input.subarray(0, 7)], [1, 2, 3, 4, 5, 6, 7]);
  for (const fd of [near, far]) closeFd(fd);
  kernel.closeEpoll();
});

test('a descriptor number that is used anew has another generation, so that a late event is told', options, () => {
  const table = new ConnectionTable(new SharedArrayBuffer(64 * 100));
  const seen = new Set<number>();
  for (let use = 0; use < 5; use++) {
    seen.add(table.open(50, 0, KIND_CLIENT));
    table.close(50);
    assert.ok(!seen.has(table.generation(50)));
  }
  assert.equal(seen.size, 5);
});

test('a thread that died while it accepted does not hold up the close of its route', options, () => {
  const route = Route.open({ upstream: 7 }, { threads: 2 });
  route.raise(1);
  const startMs = performance.now();
  route.close({ timeoutMs: 30 });
  assert.ok(performance.now() - startMs < 5000);
  assert.equal(route.upstream, CLOSED_ROUTE);
  route.lower(1);
  route.close({ timeoutMs: 60_000 });
});
