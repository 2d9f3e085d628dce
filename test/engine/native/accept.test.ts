/** Whom a thread accepts, by what it has been told when it does: its roles in this thread, with what the main thread says before or in between. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { executeCommand } from '../../../src/engine/native/commands.ts';
import { ConnectionCount } from '../../../src/engine/native/connection-count.ts';
import { ConnectionTable } from '../../../src/engine/native/connection-table.ts';
import { allocateCounters } from '../../../src/engine/native/counters.ts';
import { Heartbeat } from '../../../src/engine/native/heartbeat.ts';
import type { ThreadCommand } from '../../../src/engine/native/messages.ts';
import type { FrontendPlan, UpstreamPlan } from '../../../src/engine/native/thread-plans.ts';
import { openRoles } from '../../../src/engine/native/roles.ts';
import { Route } from '../../../src/engine/native/route.ts';
import { openKernel } from '../../../src/engine/native/kernel.ts';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import { TotalSlots } from '../../../src/engine/total-slots.ts';
import type { Listener } from '../../../src/net/listener.ts';
import { openListener } from '../../../src/net/open.ts';
import { closeFd, setNonBlocking } from '../../../src/sys/descriptor.ts';
import { encodeSockaddr } from '../../../src/sys/sockaddr.ts';
import { openSocketPair } from '../../../src/sys/socket.ts';
import { until } from '../../until.ts';
import { openEcho } from '../peers.ts';
import { to } from '../rig.ts';

const AF_INET = 2;
const options = { timeout: 60_000, skip: process.platform !== 'linux' };
const RULE = 1;

/** Where nobody is dialled before the test is over. */
const upstream: UpstreamPlan = {
  id: 1,
  counters: allocateCounters(1),
  addresses: null,
  bindAddress: null,
  prelude: null,
  timeoutMs: 1000,
  retryMs: 1000,
  keepAliveMs: 0,
  userTimeoutMs: 0,
  tls: null,
  mayMeetItself: false,
  sni: null,
};

function ruleOn(listener: Listener): FrontendPlan {
  return {
    id: RULE,
    fd: listener.fd,
    isUnix: false,
    route: Route.open({ upstream: upstream.id }, { threads: 1 }).memory,
    connections: ConnectionCount.allocate(),
    slots: null,
    admission: null,
    hold: null,
    idleMs: null,
    lifetimeMs: null,
    bufferBytes: null,
    helloMs: 1000,
    reportsOrderly: false,
    header: null,
    tls: null,
  };
}

/** A thread that does nothing by itself, and what the main thread has of it. */
function openThread(t: TestContext, total: TotalSlots) {
  const { port1, port2 } = new MessageChannel();
  const wakeFds = openSocketPair();
  for (const fd of wakeFds) setNonBlocking(fd, true);
  const data = {
    number: 0,
    table: new ConnectionTable().memory,
    port: port1,
    wakeFd: wakeFds[1],
    heartbeat: new Heartbeat().memory,
    total: total.plan,
  };
  const roles = openRoles(data, (command) => {
    if (command.type !== 'stop') executeCommand(roles, command);
  });
  t.after(() => {
    roles.destroyer.destroy(upstream.id, 'closed');
    roles.thread.kernel.closeEpoll();
    for (const port of [port1, port2]) port.close();
    for (const fd of wakeFds) closeFd(fd);
  });
  return { roles, say: (command: ThreadCommand) => port2.postMessage(command) };
}

/** Clients in the queue of a listener. */
async function queue(t: TestContext, listener: Listener, count: number): Promise<void> {
  const { address } = listener;
  assert.ok('port' in address);
  for (let client = 0; client < count; client++) {
    const socket = connect(address.port, '127.0.0.1').on('error', () => {});
    t.after(() => socket.destroy());
    await once(socket, 'connect');
  }
}

test(
  'places become free of which most are kept: what other processes have of the rule counts, though it was not read yet',
  options,
  async (t) => {
    const total = new TotalSlots({ limit: 40 });
    const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: 'test' });
    t.after(() => listener.close());
    await queue(t, listener, 3);
    const { roles, say } = openThread(t, total);
    total.reserve(total.limit);
    roles.upstreams.open(upstream);
    roles.acceptor.open(ruleOn(listener));
    say({ type: 'count-elsewhere', frontend: RULE, count: 36 });
    total.rules = 2;
    total.reserve(36);
    roles.acceptor.handle(listener.fd);
    assert.equal(roles.thread.frontends.get(RULE)!.connections.here, 0);
    // Once they have ended there is room for all.
    say({ type: 'count-elsewhere', frontend: RULE, count: 0 });
    total.reserve(0);
    roles.thread.readMailbox();
    roles.acceptor.handle(listener.fd);
    roles.acceptor.handle(listener.fd);
    assert.equal(roles.thread.frontends.get(RULE)!.connections.here, 3);
  },
);

test('a client of whom another was told alone, who then accepted no more, is found', options, async (t) => {
  const backend = await openEcho();
  t.after(() => backend.close());
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: 'test' });
  t.after(() => listener.close());
  const { address } = listener;
  assert.ok('port' in address);
  const endpoint = { type: 'tcp', port: 0, interface: '', backlog: 50 } as const;
  const open = () => {
    const engine = openNativeEngine();
    const leadsTo = engine.openUpstream(to(backend));
    const frontend = engine.openFrontend({ listener, endpoint, upstream: leadsTo, observer: {} });
    t.after(async () => {
      leadsTo.destroy();
      await frontend.stop();
      await engine.close();
    });
    return { engine, leadsTo, frontend };
  };
  const before = open();
  await before.engine.settled?.();
  // The kernel tells who has waited longest.
  const after = open();
  await after.engine.settled?.();
  const kernel = openKernel();
  const client = kernel.socket(AF_INET);
  t.after(() => {
    closeFd(client);
    kernel.closeEpoll();
  });
  const stopped = before.frontend.stop();
  kernel.connect(client, kernel.address(encodeSockaddr({ family: 'inet', host: '127.0.0.1', port: address.port })));
  await stopped;
  assert.equal(before.leadsTo.stats().connections, 0);
  after.frontend.lookInQueue?.();
  await until('nobody accepts it', () => after.leadsTo.stats().connections === 1, { limitMs: 20_000 });
});
