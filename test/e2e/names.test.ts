import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback } from './grace.ts';

const timeout = 180_000;
const src = `tcp:0:interface=${ownLoopback}`;

test('a rule goes by its name, over a restart too', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const b = await startBackend(t, 'B');
  await grace.ok('start', '--name', 'web', src, a.endpoint);
  await grace.ok('start', 'unix:' + join(grace.dir, 'other.sock'), a.endpoint);
  await grace.ok('switch', 'web', b.endpoint);
  await grace.ok('restart');
  const rows = JSON.parse(await grace.ok('ls', 'web', '--json'));
  assert.deepEqual(
    rows.map((row: Record<string, unknown>) => [row['src'], row['dst'], row['name']]),
    [[src, b.endpoint, 'web']],
  );
  assert.match(await grace.ok('ls'), /^src +dst +connections +status +name\n.* web\n/);
  await grace.ok('wait', 'web');
  assert.equal(await (await openClient(t, { host: ownLoopback, port: await grace.port(src) })).line(), 'B');
  assert.match(
    (await grace.run('start', '--name', 'web', 'tcp:0', a.endpoint)).stderr,
    /^grace: the name web is that of /,
  );
  assert.equal(
    (await grace.run('stop', 'wbe')).stderr,
    'grace: wbe is not forwarded\nhint: did you mean web?\n'.replace('grace stop', 'grace'),
  );
  await grace.ok('stop', 'web', '--now');
  for (const words of [
    ['switch', 'web', b.endpoint],
    ['wait', 'web'],
    ['stop', 'web'],
    ['ls', 'web'],
  ])
    assert.equal((await grace.run(...words)).code, 4, words.join(' '));
  assert.equal((await grace.ls()).length, 1);
});

test(
  'start --switch starts, switches, and changes parameters while the socket goes on listening',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    const path = join(grace.dir, 'web.sock');
    await grace.ok('start', '--switch', '--name', 'web', `unix:${path}`, a.endpoint);
    const client = await openClient(t, { path });
    assert.equal(await client.line(), 'A');
    await grace.ok('start', '--switch', `unix:${path}:maxconn=5:backlog=7`, b.endpoint);
    assert.equal(await client.echo('still here'), 'still here');
    assert.equal(await (await openClient(t, { path })).line(), 'B');
    const [row] = await grace.ls();
    assert.deepEqual([row?.src, row?.dst, row?.name], [`unix:${path}:maxconn=5:backlog=7`, b.endpoint, 'web']);
    const dead = await grace.run('start', '--switch', `unix:${path}`, 'tcp:127.0.0.1:1');
    assert.equal(dead.code, 5);
    assert.equal((await grace.ls())[0]?.dst, b.endpoint);
    assert.equal((await grace.run('start', `unix:${path}`, b.endpoint)).code, 1);
    const [kept] = JSON.parse(readFileSync(join(grace.dir, 'state.json'), 'utf8')).rules;
    assert.equal(kept.src.name, 'web');
    await grace.ok('restart');
    assert.equal(await (await openClient(t, { path })).line(), 'B');
  },
);

test('start says so when nobody serves the destination, and answers in JSON', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { code, stdout, stderr } = await grace.run('start', src, 'tcp:127.0.0.1:1', '--json');
  assert.equal(code, 0);
  assert.equal(stderr, ''); // for a person at a terminal it is a line
  assert.match(JSON.parse(stdout).notes.join(), /^nobody serves tcp:127\.0\.0\.1:1 yet: .*refused/);
  assert.equal(JSON.parse(stdout).changed, true);
  const refused = await grace.run('switch', src, 'tcp:127.0.0.1:2', '--json');
  assert.deepEqual([refused.code, JSON.parse(refused.stdout).exitCode], [5, 5]);
});
