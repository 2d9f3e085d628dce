import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';

const src = 'tcp:0:interface=127.0.0.1';
const clients = 200;

/** Who answers a client with this address. Rejects when nobody does. */
function whoAnswers(port: number, localAddress: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.once('error', reject);
    socket.once('data', (greeting) => {
      socket.resetAndDestroy();
      resolve(greeting.toString().trim());
    });
    socket.once('close', () => reject(new Error('nobody answers')));
  });
}

/** Of many addresses, those that the new server answers. */
async function ofNew(port: number): Promise<Set<string>> {
  const found = new Set<string>();
  for (let first = 1; first <= clients; first += 50)
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const address = `127.9.8.${first + index}`;
        if ((await whoAnswers(port, address)) === 'new') found.add(address);
      }),
    );
  return found;
}

async function setUp(t: TestContext) {
  const grace = makeGrace(t);
  const [old, fresh] = [await startBackend(t, 'old'), await startBackend(t, 'new')];
  await grace.ok('start', src, old.endpoint);
  const port = await grace.port(src);
  const share = (percent: number) => grace.ok('switch', src, fresh.endpoint, '--percent', String(percent));
  const active = async () =>
    (await grace.ls()).filter((row) => row.active).map(({ dst, percent }) => [dst, percent ?? null]);
  return { grace, old, fresh, port, share, active };
}

test(
  'a share of the clients goes to another destination, always the same, over a restart and a crash',
  { timeout: 120_000, skip: process.platform !== 'linux' && 'only Linux has all of 127.0.0.0/8' },
  async (t) => {
    const { grace, old, fresh, port, share, active } = await setUp(t);
    assert.equal(await share(30), 'Switched\n');
    const third = await ofNew(port);
    assert.ok(third.size > 0.15 * clients && third.size < 0.45 * clients, `${third.size} of ${clients}`);
    assert.deepEqual(await active(), [
      [old.endpoint, 70],
      [fresh.endpoint, 30],
    ]);
    assert.match(await grace.ok('ls'), /active 70%\n.*active 30%/);
    const other = await startBackend(t, 'other');
    const refused = await grace.run('switch', src, other.endpoint, '--percent', '5');
    assert.deepEqual([refused.code, refused.stdout], [1, '']);
    assert.match(refused.stderr, /^grace: 30 % of new connections go to .* already\nhint: a rule has two/);

    await grace.ok('restart');
    assert.deepEqual(await ofNew(port), third);
    process.kill((await grace.status()).pid, 'SIGKILL');
    await until('no daemon is there again', async () => (await grace.run('ls', '--json')).code === 0);
    assert.deepEqual(await ofNew(port), third);
    assert.equal((await active()).length, 2);

    await share(60);
    const most = await ofNew(port);
    assert.ok([...third].every((address) => most.has(address)));
    assert.ok(most.size > third.size);
    await share(100);
    assert.equal((await ofNew(port)).size, clients);
    assert.deepEqual(await active(), [[fresh.endpoint, null]]);
    assert.doesNotMatch(readFileSync(join(grace.dir, 'state.json'), 'utf8'), /share/);
  },
);

test('a share is undone by 0, and completed by a plain switch', { timeout: 60_000 }, async (t) => {
  const { grace, old, fresh, share, active } = await setUp(t);
  await share(10);
  fresh.server.close();
  await share(0);
  assert.deepEqual(await active(), [[old.endpoint, null]]);
  const again = await startBackend(t, 'again');
  await grace.ok('switch', src, again.endpoint, '--percent', '0.5');
  assert.deepEqual(await active(), [
    [old.endpoint, 99.5],
    [again.endpoint, 0.5],
  ]);
  await grace.ok('switch', src, again.endpoint);
  assert.deepEqual(await active(), [[again.endpoint, null]]);
});

test('a share that is on trial goes back to what there was', { timeout: 60_000 }, async (t) => {
  const { grace, old, port, active } = await setUp(t);
  const bad = await startBackend(t, 'bad');
  bad.server.removeAllListeners('connection').on('connection', (socket: Socket) => socket.resetAndDestroy());
  let isOver = false;
  const load = (async () => {
    for (let last = 1; !isOver; last = (last % 250) + 1) await whoAnswers(port, `127.9.8.${last}`).catch(() => {});
  })();
  const watched = ['--rollback-if-fails', '60s', '--no-check'];
  const switching = await grace.run('switch', src, bad.endpoint, '--percent', '20', ...watched);
  isOver = true;
  await load;
  assert.deepEqual([switching.code, switching.stdout], [5, '']);
  assert.match(switching.stderr, /rolled back: .* reset before a byte came back/);
  assert.deepEqual(await active(), [[old.endpoint, null]]);
});
