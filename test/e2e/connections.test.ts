import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, runtime } from './grace.ts';

const timeout = 180_000;
const src = `tcp:0:interface=${ownLoopback}`;

test(
  'connections are listed and closed by what they are, and keep their ids over a restart',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    await grace.ok('start', '--name', 'web', src, a.endpoint);
    assert.deepEqual(await grace.connections(), []);
    const where = { host: ownLoopback, port: await grace.port(src) };
    const first = await openClient(t, where);
    await first.line();
    await grace.ok('switch', 'web', b.endpoint);
    const second = await openClient(t, where);
    await second.line();
    const third = await openClient(t, where);
    await third.line();
    const portOf = ({ socket }: typeof first) => `${socket.localAddress}:${socket.localPort}`;

    const before = await grace.connections('web');
    assert.deepEqual(
      before.map(({ client, dst }) => [client, dst]),
      [
        [portOf(first), a.endpoint],
        [portOf(second), b.endpoint],
        [portOf(third), b.endpoint],
      ],
    );
    const { pid } = await grace.status();
    for (const row of before) {
      assert.deepEqual(
        [row.src, row.name, row.state, row.pid, row.bytesIn, row.bytesOut],
        [src, 'web', 'open', pid, 0, 2],
      );
      assert.ok(row.age >= row.idle && row.idle >= 0);
    }
    await grace.ok('restart');
    const after = await grace.connections(src);
    const isMoved = runtime !== 'deno' && process.platform === 'linux';
    // Ages are told by another process, and those of two may differ by less than it is off.
    assert.deepEqual(after.map(({ id }) => id).sort(), before.map(({ id }) => id).sort());
    if (isMoved) assert.deepEqual([...new Set(after.map((row) => row.pid))], [(await grace.status()).pid]);

    assert.equal(await grace.ok('close', 'web', '--idle', '1h'), 'Closed 0\n');
    assert.equal(await grace.ok('close', '--client', '127.200.0.0/16'), 'Closed 0\n');
    assert.equal(await grace.ok('close', '--client', portOf(second)), 'Closed 1\n');
    await assert.rejects(second.line());
    assert.equal(await first.echo('untouched'), 'untouched');
    assert.equal(await grace.ok('close', 'web', '--dst', a.endpoint), 'Closed 1\n');
    await assert.rejects(first.line());
    assert.equal(await third.echo('untouched'), 'untouched');
    const [{ id } = assert.fail()] = await grace.connections();
    assert.equal(await grace.ok('close', '--id', id), 'Closed 1\n');
    assert.deepEqual(await grace.run('close', '--id', id), {
      code: 0,
      stdout: 'Closed 0\n',
      stderr: 'note: no such connection is open; to see which are: grace ls --connections\n',
    });
    await assert.rejects(third.line());
    assert.deepEqual(await grace.connections(), []);
    assert.equal((await grace.run('close', 'tcp:1')).code, 4);
    assert.equal(await (await openClient(t, where)).line(), 'B');
  },
);
