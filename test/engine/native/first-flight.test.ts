import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { allocateCounters, Counters } from '../../../src/engine/native/counters.ts';
import { FirstFlight, UNKNOWN_EAGERNESS } from '../../../src/engine/native/first-flight.ts';
import { EAGAIN, EINPROGRESS } from '../../../src/engine/native/errno.ts';
import { openKernel } from '../../../src/engine/native/kernel.ts';
import { KIND_CLIENT, KIND_SERVER, ConnectionTable } from '../../../src/engine/native/connection-table.ts';
import type { Thread, ThreadUpstream } from '../../../src/engine/native/thread.ts';
import { openListener } from '../../../src/net/open.ts';
import { closeFd, setNonBlocking } from '../../../src/sys/descriptor.ts';
import { encodeSockaddr } from '../../../src/sys/sockaddr.ts';
import { C } from '../../../src/sys/constants.ts';

const options = { timeout: 20_000, skip: process.platform !== 'linux' };
/** The row of a client that no socket is needed for. */
const client = 1000;

/** A listener that nobody accepts from, and one thread's share in a connect to it. */
async function prepare(t: TestContext) {
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: 'test' });
  t.after(() => listener.close());
  assert.ok(listener.address.family === 'inet');
  const kernel = openKernel();
  const table = new ConnectionTable(new SharedArrayBuffer(64 * 2048));
  const upstream: ThreadUpstream = {
    plan: {
      id: 0,
      counters: allocateCounters(1),
      addresses: [],
      bindAddress: null,
      prelude: null,
      timeoutMs: 1000,
      retryMs: 0,
      keepAliveMs: 0,
      userTimeoutMs: 0,
      mayMeetItself: false,
      tls: null,
      sni: null,
    },
    counters: new Counters(allocateCounters(1), 0),
    fixed: { addresses: [], targets: null, until: Infinity },
    resolved: null,
    bindAddress: null,
    answeredLast: null,
    isWatched: false,
    isForgotten: false,
    eagerness: UNKNOWN_EAGERNESS,
  };
  const upstreams = new Map([[0, upstream]]);
  const firstFlight = new FirstFlight({ kernel, table, upstreams, ways: new Map() } as unknown as Thread);
  const server = listener.dup();
  setNonBlocking(server, true);
  const address = kernel.address(encodeSockaddr({ family: 'inet', host: '127.0.0.1', port: listener.address.port }));
  const connect = (): number => {
    const fd = kernel.socket(C.AF_INET);
    t.after(() => closeFd(fd));
    firstFlight.beforeConnect(fd, upstream);
    assert.equal(kernel.connect(fd, address), -EINPROGRESS);
    table.open(client, 0, KIND_CLIENT);
    table.assign(client, 0, 0);
    table.open(fd, 0, KIND_SERVER);
    table.pair(client, fd);
    return fd;
  };
  const accept = (): number => {
    const fd = kernel.accept(server);
    if (fd >= 0) t.after(() => closeFd(fd));
    return fd;
  };
  t.after(() => closeFd(server));
  return { kernel, table, upstream, firstFlight, connect, accept };
}

test('the acknowledgement of a handshake waits for the first bytes of the client', options, async (t) => {
  const { kernel, table, upstream, firstFlight, connect, accept } = await prepare(t);
  const fd = connect();
  firstFlight.connected(fd);
  assert.equal(accept(), -EAGAIN);
  kernel.input[0] = 65;
  assert.equal(kernel.sendInput(fd, 1), 1);
  table.addBytes(client, 1, 0);
  const accepted = accept();
  assert.ok(accepted >= 0);
  kernel.input[0] = 0;
  assert.equal(kernel.receive(accepted), 1);
  assert.equal(kernel.input[0], 65);
  firstFlight.endRound();
  assert.equal(upstream.eagerness, UNKNOWN_EAGERNESS + 1);
});

test(
  'it is sent without them at the end of the round, and not held back again where clients are silent',
  options,
  async (t) => {
    const { upstream, firstFlight, connect, accept } = await prepare(t);
    const fd = connect();
    firstFlight.connected(fd);
    assert.equal(accept(), -EAGAIN);
    firstFlight.endRound();
    assert.ok(accept() >= 0);
    assert.ok(upstream.eagerness < UNKNOWN_EAGERNESS);
    connect();
    assert.ok(accept() >= 0, 'acknowledged at once');
  },
);
