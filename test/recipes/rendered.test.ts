import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from '../e2e/backend.ts';
import { ownLoopback } from '../e2e/grace.ts';
import { until } from '../until.ts';
import { blocksOf, makePlace, openShell } from './recipe.ts';

test(
  'the recipe for rendered rules: of three files the bad one changes nothing and is told of, applied or watched',
  { timeout: 120_000, skip: process.platform !== 'linux' },
  async (t) => {
    const [blue, green] = [await startBackend(t, 'blue'), await startBackend(t, 'green')];
    const { env, path, home } = makePlace(t);
    const values = join(path, 'values');
    const file = join(home, 'rules.yaml');
    const shell = openShell(t, { env: { ...env, VALUES: values, FILE: file } });
    const [render = '', watch = '', ...more] = blocksOf('Rules from a registry (confd, consul-template)');
    assert.deepEqual(more, []);
    const put = (text: string) => writeFileSync(values, `# of the registry\n${text}`);
    const attempt = (block: string) => shell.attempt(`{ ${block.trim()}; } 2>&1`);
    const answer = async (port: number) => {
      const client = await openClient(t, { host: ownLoopback, port });
      const line = await client.line();
      await client.end();
      return line;
    };
    const web = `web ${ownLoopback}:8080`;
    await shell.run(`grace start ${ownLoopback}:8079 ${blue.endpoint}`); // not in the file: it goes

    put(`${web} ${blue.endpoint}\n`);
    const first = await attempt(render);
    assert.deepEqual(
      [first.code, first.stdout.split('\n').map((line) => line.split(' ')[0])],
      [0, ['stop', 'start', 'Applied', '']],
      first.stdout,
    );
    assert.equal(await answer(8080), 'blue');
    const good = readFileSync(file, 'utf8');

    put(`${web} ${green.endpoint}\napi ${ownLoopback}:99999 ${green.endpoint}\n`);
    const bad = await attempt(render);
    assert.equal(bad.code, 2);
    assert.match(bad.stdout, /rules\.yaml\.\w+:3:\d+: .*99999[^]*\nrender\.sh: that is \S+rules\.yaml\.bad; /);
    assert.deepEqual([readFileSync(file, 'utf8'), await answer(8080)], [good, 'blue']);
    assert.ok(existsSync(`${file}.bad`));

    put('');
    const empty = await attempt(render);
    assert.equal(empty.code, 1);
    assert.match(empty.stdout, /^render\.sh: no rules in /);

    put(`${web} ${green.endpoint}\n`);
    assert.match((await attempt(render)).stdout, /^switch .*\nApplied 1 changes?\n$/);
    assert.equal(await answer(8080), 'green');
    assert.deepEqual(await attempt(render), { code: 0, stdout: 'No changes\n' });
    assert.deepEqual(readdirSync(home).sort(), ['rules.yaml', 'rules.yaml.bad', 'state']);

    // Somebody who renders and only renames, with a grace that follows.
    await shell.run(`{ ${watch.trim()}; } >"${path}/watched" 2>&1 &`);
    put(`${web} ${blue.endpoint}\n`);
    await shell.run(`export APPLY=no\n${render}`);
    await until('it has followed', async () => (await answer(8080)) === 'blue');
    writeFileSync(file, 'rules: [{src: nowhere}]\n');
    await until('it has told of a bad one', () => /nowhere|dst/.test(readFileSync(join(path, 'watched'), 'utf8')));
    assert.equal(await answer(8080), 'blue');
    put(`${web} ${green.endpoint}\n`);
    await shell.run(render);
    await until('it has followed again', async () => (await answer(8080)) === 'green');
  },
);
