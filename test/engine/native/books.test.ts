import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import type { EngineObserver } from '../../../src/engine/engine.ts';
import { collectGarbage, exposeCollect } from '../../../src/sys/garbage.ts';
import { until } from '../../until.ts';
import { closed, connectTo, openEcho, readBytes } from '../peers.ts';
import { addressOf, Rig, to } from '../rig.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };

for (const threads of [1, 2]) {
  test(
    `when a route has changed, every client that was accepted before is counted (${threads} threads)`,
    options,
    async () => {
      await using rig = new Rig(() => openNativeEngine({ threads }));
      await using echo = await openEcho();
      const { frontend, upstream: first, address } = await rig.forward({ to: to(echo) });
      const upstreams = [first, rig.upstream(to(echo))];
      const clients = [];
      for (let round = 0; round < 300; round++) {
        const [current, next] = [upstreams[round % 2]!, upstreams[(round + 1) % 2]!];
        const client = connect(address);
        clients.push(client);
        // The call has been made by now, so that the client is accepted while the route changes; or a little before, or after.
        await new Promise((resolve) => (round % 3 === 0 ? setImmediate(resolve) : resolve(null)));
        frontend.route(next);
        const counted = current.stats().connections;
        const other = next.stats().connections;
        if (client.connecting) await once(client, 'connect');
        await until(
          'the client is accepted',
          () => current.stats().connections + next.stats().connections === round + 1,
        );
        assert.equal(
          current.stats().connections,
          counted,
          `a client of round ${round} was counted after the route had changed`,
        );
        assert.ok(next.stats().connections - other <= 1);
      }
      for (const client of clients) client.destroy();
      await Promise.all(clients.map((client) => client.closed || closed(client)));
    },
  );
}

test('an upstream that is forgotten serves the connections it has to their end', options, async () => {
  await using rig = new Rig(() => openNativeEngine());
  await using echo = await openEcho();
  const { frontend, upstream, connect } = await rig.forward({ to: to(echo) });
  const client = await connect();
  client.write('a');
  assert.equal(await readBytes(client, 1), 'a');
  frontend.route(rig.upstream(to(echo)));
  upstream.forget();
  assert.equal(upstream.stats().connections, 1);
  client.write('b');
  assert.equal(await readBytes(client, 1), 'b');
  client.end();
  await upstream.drained();
  assert.equal(upstream.stats().connections, 0);
});

test('nothing is remembered of upstreams and frontends that are over', options, async () => {
  exposeCollect();
  await using echo = await openEcho();
  const engine = openNativeEngine({ threads: 2 });
  const rig = new Rig(() => engine);
  const observers: WeakRef<EngineObserver>[] = [];
  const cycle = async (): Promise<void> => {
    const listener = await rig.listen('tcp');
    const observer: EngineObserver = { connectionEnded: () => {} };
    observers.push(new WeakRef(observer));
    const upstream = engine.openUpstream(to(echo));
    const frontend = engine.openFrontend({
      listener,
      endpoint: { type: 'tcp', port: 0, interface: '', backlog: 50 },
      upstream,
      observer,
    });
    const client = await connectTo(addressOf(listener));
    client.write('x');
    await readBytes(client, 1);
    await frontend.stop();
    listener.close();
    upstream.forget();
    client.end();
    await upstream.drained();
  };
  for (let count = 0; count < 50; count++) await cycle();
  const alive = () => {
    collectGarbage();
    return observers.filter((observer) => observer.deref() !== undefined).length;
  };
  // The last one may still be referred to by what has just run.
  await until(
    () => `${alive()} of 50 are remembered`,
    () => alive() <= 1,
    { limitMs: 20_000 },
  );
  await engine.close();
});
