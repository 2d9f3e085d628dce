/** The daemon as it is built, and those at its control socket who mean no good. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { statePaths } from '../../src/control/paths.ts';
import { requests } from '../control/requests.ts';
import { alwaysInTime, hostileJson, hostileText, mutatedJson, timeout } from '../hostile.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { descriptorsOf, memoryOf } from './processes.ts';

/** Without what would rightly end it. */
const harmless = (message: unknown): boolean => {
  if (typeof message !== 'object' || message === null || !('command' in message)) return true;
  return message.command !== 'stop' || ('src' in message && typeof message.src === 'object' && message.src !== null);
};
const line = fc
  .oneof(hostileJson, ...requests.map((request) => mutatedJson(request)))
  .filter(harmless)
  .map((message) => `${JSON.stringify(message)}\n`);
const sent = fc.oneof(
  { weight: 6, arbitrary: line },
  { weight: 1, arbitrary: hostileText(['{"command":"ls"}', '{', '}', '\n', ':'], 8) },
  { weight: 1, arbitrary: fc.constantFrom(`${'['.repeat(100_000)}\n`, `{"command":"${'x'.repeat(500_000)}"}\n`) },
);

test(
  'whatever is sent to its control socket, a daemon goes on, and has no more open than before',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'one');
    await grace.ok('start', '--name', 'own', 'tcp:0:interface=127.0.0.1:maxconn=100', backend.endpoint);
    const client = await openClient(t, { port: await grace.port('tcp:0:interface=127.0.0.1:maxconn=100') });
    assert.equal(await client.line(), 'one');
    const { pid } = await grace.status();
    const path = statePaths(grace.dir).socket;
    const ask = async (text: string, isCut: boolean) => {
      const socket = connect(path).on('error', () => {});
      socket.resume();
      await once(socket, 'connect');
      const at = isCut ? Math.floor(text.length / 2) : text.length;
      socket.write(text.slice(0, at));
      if (isCut) socket.write(text.slice(at));
      socket.setTimeout(50, () => socket.destroy());
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
    };
    const stopStrangers = async () => {
      for (const { src, name } of await grace.ls()) if (name !== 'own') await grace.run('stop', '--now', name ?? src);
    };
    await ask('{"command":"ls"}\n', true);
    const before = runtime === 'executable' ? descriptorsOf(pid).size : 0;
    await alwaysInTime(40, fc.array(fc.tuple(sent, fc.boolean()), { minLength: 1, maxLength: 12 }), async (all) => {
      await Promise.all(all.map(([text, isCut]) => ask(text, isCut)));
    });
    assert.equal(await client.echo('still here'), 'still here');
    assert.equal((await grace.status()).pid, pid);
    await stopStrangers();
    assert.doesNotMatch(grace.log(), /internal error|TypeError|RangeError|\.ts:\d|    at /);
    if (runtime === 'executable') {
      await until(
        () => `${descriptorsOf(pid).size} descriptors, ${before} before: ${[...descriptorsOf(pid).values()].join(' ')}`,
        () => descriptorsOf(pid).size <= before,
        { limitMs: 20_000 },
      );
      assert.ok(memoryOf(pid).anonymous < 300_000, `${memoryOf(pid).anonymous} kB`);
    }
  },
);
