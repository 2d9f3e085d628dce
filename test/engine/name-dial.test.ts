/** What both engines make of names, whose lookups a test answers, and of addresses that are away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Names } from '../../src/engine/lookup.ts';
import type { AskSystem } from '../../src/engine/lookup.ts';
import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import type { TcpClient } from '../../src/endpoint/model.ts';
import { until } from '../until.ts';
import { endingOf, openBackend, openEcho, readAll, reset } from './peers.ts';
import { Rig } from './rig.ts';

const engines = { native: openNativeEngine, portable: openPortableEngine };

/** Names of which a test says what the system answers. */
function namesFrom(ask: AskSystem): Names {
  return new Names({ ask, hostsFile: '/nowhere' });
}

function toName(host: string, port: number, more: Partial<TcpClient> = {}): TcpClient {
  return { type: 'tcp', host, port, timeout: 5, bindAddress: null, ...more };
}

function failed(code: string): Error {
  return Object.assign(new Error(code), { code });
}

for (const engine of ['native', 'portable'] as const) {
  const options = { timeout: 60_000, skip: engine === 'native' && process.platform !== 'linux' };
  const openRig = (names: Names) =>
    new Rig(
      ({ lookMs } = {}) =>
        engine === 'native'
          ? engines.native({ names })
          : engines.portable({ names, ...(lookMs !== undefined && { lookMs }) }),
      { lookMs: 20 },
    );

  for (const code of ['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL']) {
    test(`${engine}: retry waits for a name that is away for a moment (${code})`, options, async () => {
      let lookups = 0;
      await using rig = openRig(
        namesFrom(async () => {
          if (++lookups < 4) throw failed(code);
          return ['127.0.0.1'];
        }),
      );
      await using backend = await openEcho();
      const { connect } = await rig.forward({ to: toName('web.test', backend.port, { retry: 30_000 }) });
      const client = await connect();
      client.end('hello');
      assert.equal(await readAll(client), 'hello');
      assert.equal(lookups, 4);
    });
  }

  test(
    `${engine}: a lookup without an answer ends with the time of the attempt, and retry asks again`,
    options,
    async () => {
      await using rig = openRig(namesFrom(() => new Promise(() => {})));
      const ends = [
        { retry: 0, leastMs: 100 },
        { retry: 300, leastMs: 300 },
      ];
      for (const [index, { retry, leastMs }] of ends.entries()) {
        const { connect } = await rig.forward({ to: toName(`dead${index}.test`, 80, { timeout: 0.1, retry }) });
        const begin = performance.now();
        assert.equal(await endingOf(await connect()), 'reset');
        assert.ok(performance.now() - begin >= leastMs);
        const end = (await rig.endedConnections(index + 1))[index];
        assert.equal(
          end?.error?.message,
          `cannot connect to tcp:dead${index}.test:80: the name cannot be resolved: no answer within 0.1 s`,
        );
      }
    },
  );

  test(`${engine}: a lookup that waits for its turn is not begun for clients that have left`, options, async () => {
    const asked = new Set<string>();
    const slots: PromiseWithResolvers<readonly string[]>[] = [];
    await using rig = openRig(
      namesFrom((host) => {
        asked.add(host);
        const slot = Promise.withResolvers<readonly string[]>();
        slots.push(slot);
        return slot.promise;
      }),
    );
    const names = Array.from({ length: 40 }, (_, number) => `dead${number}.test`);
    const clients = [];
    for (const name of names) {
      const { connect, upstream } = await rig.forward({ to: toName(name, 80) });
      clients.push(await connect());
      await until('it is dialled for', () => upstream.stats().dialing === 1);
    }
    await until('lookups have begun', () => asked.size > 0);
    for (const client of clients) reset(client);
    await rig.endedConnections(40);
    // What is asked for after the clients' leaving comes after it.
    const { connect } = await rig.forward({ to: toName('last.test', 80) });
    const last = await connect();
    const before = slots.splice(0);
    for (const slot of before) slot.reject(failed('EAI_AGAIN'));
    await until('the last one is asked for', () => asked.has('last.test'));
    assert.ok(asked.size < 40, `${asked.size} were asked for`);
    for (const slot of slots.splice(0)) slot.reject(failed('EAI_AGAIN'));
    assert.equal(await endingOf(last), 'reset');
  });

  test(`${engine}: the address that answered last is tried first, and the others after it`, options, async () => {
    await using rig = openRig(namesFrom(async () => ['127.0.0.3', '127.0.0.2', '127.0.0.1']));
    const backend = await openBackend();
    const { connect } = await rig.forward({ to: toName('web.test', backend.port) });
    const client = await connect();
    (await backend.next()).end('served');
    assert.equal(await readAll(client), 'served');
    client.end();
    await rig.endedConnections(1);
    await backend.close();
    assert.equal(await endingOf(await connect()), 'reset');
    const tried = (await rig.endedConnections(2))[1]?.error?.message.match(/127\.0\.0\.\d/g);
    assert.deepEqual(tried, ['127.0.0.1', '127.0.0.3', '127.0.0.2']);
  });

  test(
    `${engine}: an address to connect from that is elsewhere is said at once, and retry waits for it`,
    options,
    async () => {
      await using rig = openRig(new Names());
      await using backend = await openBackend();
      for (const [index, retry] of [0, 200].entries()) {
        const { connect } = await rig.forward({
          to: toName('127.0.0.1', backend.port, { bindAddress: '192.0.2.1', retry }),
        });
        const begin = performance.now();
        assert.equal(await endingOf(await connect()), 'reset');
        const tookMs = performance.now() - begin;
        assert.ok(tookMs >= retry && tookMs < 4000, `${tookMs} ms`);
        assert.match(
          (await rig.endedConnections(index + 1))[index]?.error?.message ?? '',
          /: address not available \(EADDRNOTAVAIL\)$/,
        );
      }
    },
  );
}
