import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';
import { isListening } from './listening-socket.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';

test(
  'a client whose destination is still being dialled is waited for, and let go when time is up',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    await grace.ok('start', src, 'tcp:127.0.0.1:1:retry=60s');
    const port = await grace.port(src);
    const client = await openClient(t, { port });
    await until('it is being dialled for', async () => (await grace.ls())[0]?.connections === 1);
    const began = performance.now();
    const closed = new Promise<number>((resolve) =>
      client.socket.once('close', () => resolve(performance.now() - began)),
    );
    const stopping = grace.spawn('stop', '--timeout', '500ms');
    // A client that comes to see whether it is refused would be one more.
    await until('it accepts no more', () => !isListening(port));
    assert.deepEqual(await stopping.ended, {
      code: 0,
      stdout: 'Stopped\n1 connection closed after 500ms\n',
      stderr: '',
    });
    const closedAfterMs = await closed;
    assert.ok(closedAfterMs >= 500, `${closedAfterMs} ms`);
  },
);

test(
  'rules that are started while everything stops are refused or stopped too: nobody is accepted afterwards',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    await grace.ok('start', src, a.endpoint);
    const client = await openClient(t, { port: await grace.port(src) });
    await client.line();
    const sources = Array.from({ length: 6 }, (_, index) => `unix:${grace.dir}-${index}.sock`);
    const starting = sources.map((source) => grace.spawn('start', source, a.endpoint));
    await until('one is started', () => starting.some(({ outcome }) => outcome().code !== null));
    const stopping = grace.spawn('stop', '--timeout', '100s');
    await until('it stops', () => grace.log().includes('stopping'));
    const late = await grace.run('start', `unix:${grace.dir}-late.sock`, a.endpoint);
    assert.deepEqual([late.code, late.stderr.split('\n')[0]], [1, 'grace: the daemon is stopping']);
    // Its rule is kept: that it is not forwarded would be half of the truth.
    const stopped = await grace.run('stop', src);
    assert.deepEqual([stopped.code, stopped.stderr.split('\n')[0]], [1, 'grace: the daemon is stopping']);
    for (const { ended } of starting) {
      const { code, stderr } = await ended;
      if (code !== 0) assert.match(stderr, /^grace: the daemon is stopping\n/);
    }
    for (const source of sources)
      await assert.rejects(openClient(t, { path: source.slice('unix:'.length) }), /ENOENT|ECONNREFUSED/);
    await client.end();
    assert.equal((await stopping.ended).code, 0);
  },
);
