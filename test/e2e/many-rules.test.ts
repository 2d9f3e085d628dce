import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, program, runtime } from './grace.ts';
import { descriptorsOf, kill } from './processes.ts';
import { until } from '../until.ts';

const timeout = 180_000;

/** More than whose names fit into one variable of an environment. */
const most = 1600;

test(
  `${most} rules are served, restarted and recovered after a crash`,
  { timeout, skip: runtime === 'executable' ? false : 'once is enough' },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const sockets = join(grace.dir, 'sockets');
    mkdirSync(sockets, { recursive: true, mode: 0o700 });
    const path = (number: number) => join(sockets, `of-a-rule-with-a-long-name-${number}.sock`);
    const rules = Array.from({ length: most }, (_, number) => {
      const [src, dst] = [`unix:${path(number)}:lockfile=0`, a.endpoint];
      return { src: { typed: src, absolute: src }, dst: { typed: dst, absolute: dst } };
    });
    writeFileSync(join(grace.dir, 'state.json'), JSON.stringify({ format: 1, rules }));
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', a.endpoint);
    const { pid, keeper, rules: count } = await grace.status();
    assert.equal(count, most + 1);
    assert.ok(keeper);
    await until(
      'the keeper has them all',
      () => [...descriptorsOf(keeper.pid).values()].filter((target) => target.startsWith('socket:')).length > most,
    );
    const reach = async () => {
      for (const number of [0, most / 2, most - 1]) {
        const client = await openClient(t, { path: path(number) });
        assert.equal(await client.line(), 'A');
        await client.end();
      }
    };
    await reach();
    await grace.ok('restart');
    const successor = await grace.status();
    assert.notEqual(successor.pid, pid);
    assert.equal(successor.rules, most + 1);
    await reach();
    await kill(successor.pid);
    await reach();
    assert.equal((await grace.ls()).filter(({ active }) => active).length, most + 1);
  },
);

test(
  'a rule for whose clients no descriptors are left is refused, with what to do, and the others go on',
  { timeout, skip: runtime === 'executable' ? false : 'the limit is that of the executable' },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const [file] = program;
    const daemon = spawn('/bin/sh', ['-c', `ulimit -n 128 && exec "$0" "$@"`, file, '-d', grace.dir, 'daemon'], {
      stdio: 'ignore',
    });
    const closed = once(daemon, 'close');
    await until('it serves', async () => (await grace.run('status')).code === 0);
    const path = (number: number) => `${grace.dir}-${number}.sock`;
    let count = 0;
    let refused = await grace.run('start', `unix:${path(count)}`, a.endpoint);
    while (refused.code === 0) refused = await grace.run('start', `unix:${path(++count)}`, a.endpoint);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^grace: cannot listen on unix:.*: there are too few open files left: the limit is 128, .*\nhint: raise the limit of open files .*\n$/,
    );
    assert.ok(count > 5);
    await assert.rejects(openClient(t, { path: path(count) }), /ENOENT/);
    const client = await openClient(t, { path: path(count - 1) });
    assert.equal(await client.line(), 'A');
    await grace.ok('restart');
    assert.equal(await client.echo('still here'), 'still here');
    await client.end();
    await grace.ok('stop', '--now');
    await closed;
  },
);
