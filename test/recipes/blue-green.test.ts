import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isRunning, ownLoopback } from '../e2e/grace.ts';
import { blocksOf, makePlace, openShell } from './recipe.ts';

test(
  'the recipe for blue/green deploys loses no request, by hand and by its script',
  {
    timeout: 120_000,
    skip: process.platform !== 'linux' || (spawnSync('ss', ['-V']).error ? 'it needs ss (iproute2)' : false),
  },
  async (t) => {
    const { env, path } = makePlace(t);
    const web = `${ownLoopback}:8080`;
    const shell = openShell(t, { env: { ...env, WEB: web, HOST: ownLoopback, RUN: path } });
    const [settings = '', first = '', second = '', script = '', ...more] = blocksOf('Blue/green deploy');
    assert.deepEqual(more, []);
    await shell.run(settings);
    await shell.run(first);

    const over = new AbortController();
    t.after(() => over.abort());
    const seen: string[] = [];
    const load = (async () => {
      while (!over.signal.aborted) {
        const response = await fetch(`http://${web}/`, { headers: { connection: 'close' } });
        seen.push(`${response.status} ${await response.text()}`.trim());
      }
    })();
    load.catch(() => {}); // it is awaited below

    assert.match(await shell.run(second), /^Switched\n/);
    await shell.run('wait "$blue"'); // it ended by itself, and well
    assert.match(await shell.run(script), /^Started\n/);
    assert.match(await shell.run(script.replace('VERSION=3', 'VERSION=4')), /^Started\n/);
    const pid = Number(readFileSync(join(path, 'web-9002.pid'), 'utf8'));

    const sick = await shell.attempt(script.replace('VERSION=3', 'VERSION=5 UP=503').replace('\n', ' 2>&1'));
    assert.equal(sick.code, 5);
    assert.match(
      sick.stdout,
      /^grace: cannot switch \S+ to \S+:9001:retry=10s: GET \/up: answered 503, not 200\nhint: nothing was changed\n$/,
    );
    assert.ok(isRunning(pid));

    over.abort();
    await load;

    const stray = createServer().listen(9001, ownLoopback);
    await once(stray, 'listening');
    const taken = await shell.attempt(script.replace('\n', ' 2>&1'));
    stray.close();
    assert.deepEqual(taken, {
      code: 1,
      stdout: 'deploy.sh: somebody serves port 9001 already, a version before the last one perhaps\n',
    });

    assert.deepEqual(
      [...new Set(seen)].sort(),
      ['200 version 1', '200 version 2', '200 version 3', '200 version 4'].slice(
        seen.includes('200 version 1') ? 0 : 1,
      ),
    );
    assert.equal(seen.at(-1), '200 version 4');
    assert.ok(existsSync(join(path, 'web-9001.log')));
    t.diagnostic(`${seen.length} requests`);
  },
);
