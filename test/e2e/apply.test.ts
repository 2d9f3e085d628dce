/** The rules of a file are brought about, with the least change. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, program } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { kill } from './processes.ts';

const options = { timeout: 120_000 };

test('apply starts, switches and stops what differs, and export | apply changes nothing', options, async (t) => {
  const grace = makeGrace(t);
  const [blue, green] = [await startBackend(t, 'blue'), await startBackend(t, 'green')];
  const file = `${grace.dir}.yaml`;
  const unix = (name: string) => `unix:${grace.dir}-${name}`;
  await grace.ok('start', '--name', 'kept', unix('kept'), blue.endpoint);
  await grace.ok('start', unix('moved'), blue.endpoint);
  await grace.ok('start', unix('gone'), blue.endpoint);
  const kept = await openClient(t, { path: `${grace.dir}-kept` });
  const moved = await openClient(t, { path: `${grace.dir}-moved` });
  const gone = await openClient(t, { path: `${grace.dir}-gone` });
  for (const client of [kept, moved, gone]) assert.equal(await client.line(), 'blue');
  writeFileSync(
    file,
    `rules:\n  - {src: '${unix('kept')}', dst: '${blue.endpoint}'}\n  - {src: '${unix('moved')}', dst: '${green.endpoint}', name: moved}\n  - {src: '${unix('new')}', dst: '${green.endpoint}'}\n`,
  );
  const lines = [
    `stop ${unix('gone')}`,
    `start ${unix('new')} ${green.endpoint}`,
    `switch ${unix('moved')} ${green.endpoint}`,
  ];
  assert.equal(await grace.ok('apply', file, '--dry-run'), `${lines.join('\n')}\nWould apply 3 changes\n`);
  assert.equal((await grace.ls()).length, 3);
  const applying = grace.spawn('apply', file);
  // What is stopped finishes while the rest is done.
  await until('the new one is started', () => applying.outcome().stdout.includes('start '));
  assert.equal(await (await openClient(t, { path: `${grace.dir}-new` })).line(), 'green');
  assert.equal(await gone.echo('still here'), 'still here');
  await gone.end();
  assert.deepEqual(await applying.ended, { code: 0, stdout: `${lines.join('\n')}\nApplied 3 changes\n`, stderr: '' });
  assert.equal(await moved.echo('not disturbed'), 'not disturbed');
  assert.equal(await kept.echo('nor this one'), 'nor this one');
  assert.equal(await (await openClient(t, { path: `${grace.dir}-moved` })).line(), 'green');
  assert.equal(await grace.ok('apply', file), 'No changes\n');
  const names = (await grace.ls())
    .filter(({ active }) => active)
    .map(({ name }) => name)
    .sort();
  assert.deepEqual(names, ['kept', 'moved', undefined]);
  const exported = await grace.ok('export');
  const [command = '', ...before] = program;
  const child = spawn(command, [...before, '-d', grace.dir, 'apply', '-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(exported);
  let said = '';
  for await (const text of child.stdout.setEncoding('utf8')) said += text;
  assert.equal(said, 'No changes\n');
});

test('a destination that does not accept is not switched to, and what was done before is said', options, async (t) => {
  const grace = makeGrace(t);
  const blue = await startBackend(t, 'blue');
  const src = `unix:${grace.dir}-a`;
  await grace.ok('start', src, blue.endpoint);
  const file = `${grace.dir}.yaml`;
  writeFileSync(
    file,
    `rules:\n  - {src: '${src}', dst: 'tcp:${ownLoopback}:1'}\n  - {src: 'unix:${grace.dir}-b', dst: '${blue.endpoint}'}\n`,
  );
  const { code, stdout, stderr } = await grace.run('apply', file);
  assert.equal(code, 5);
  assert.equal(stdout, `start unix:${grace.dir}-b ${blue.endpoint}\n`);
  assert.match(
    stderr,
    /^grace: switch unix:\S+ tcp:\S+: cannot switch .*ECONNREFUSED.* \(1 of 2 changes were made\)\nhint: /,
  );
  const { code: forced, stdout: done } = await grace.run('apply', file, '--no-check', '--json');
  assert.equal(forced, 0);
  assert.deepEqual(JSON.parse(done), {
    changes: [{ change: 'switch', src, dst: `tcp:${ownLoopback}:1` }],
    isDryRun: false,
  });
});

test('apply --watch waits for a daemon, and says so once, with its state dir', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'blue');
  const file = `${grace.dir}.yaml`;
  writeFileSync(file, `rules:\n  - {src: 'unix:${grace.dir}-a', dst: '${backend.endpoint}'}\n`);
  const watching = grace.spawn('apply', file, '--watch');
  t.after(() => void watching.child.kill('SIGKILL'));
  await until('it waits', () => watching.outcome().stderr.includes('waiting for a daemon'));
  assert.equal(
    watching.outcome().stderr,
    `grace: no daemon runs in ${grace.dir}\nhint: start one with: grace -d ${grace.dir} start SRC DST\nnote: waiting for a daemon, which gets the rules when it runs\n`,
  );
  const said = watching.outcome().stderr;
  await grace.ok('start', `unix:${grace.dir}-b`, backend.endpoint); // not in the file: it goes, if it was there already
  await until('the rules are brought about', async () => /^Applied [12] changes$/m.test(watching.outcome().stdout));
  assert.equal(watching.outcome().stderr, said);
  assert.equal(await (await openClient(t, { path: `${grace.dir}-a` })).line(), 'blue');
});

test(
  'rules that apply has started are on disk when it says so, and are all stopped by the next',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const blue = await startBackend(t, 'blue');
    const count = 250; // more than go into one request
    const path = (number: number) => `${grace.dir}-${number}`;
    await grace.ok('start', `unix:${path(0)}:lockfile=0`, blue.endpoint);
    const lines = Array.from(
      { length: count },
      (_, number) => `  - {src: 'unix:${path(number)}:lockfile=0', dst: '${blue.endpoint}'}\n`,
    );
    const file = `${grace.dir}.yaml`;
    writeFileSync(file, `rules:\n${lines.join('')}`);
    const said = await grace.ok('apply', file);
    const { pid, keeper } = await grace.status();
    await kill(keeper?.pid ?? pid);
    if (keeper) await kill(pid);
    assert.equal(said.split('\n').length, count + 1);
    assert.match(said, new RegExp(`\\nApplied ${count - 1} changes\\n$`));
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', blue.endpoint);
    assert.equal((await grace.status()).rules, count + 1);
    for (const number of [0, 1, count - 1]) {
      const client = await openClient(t, { path: path(number) });
      assert.equal(await client.line(), 'blue');
      await client.end();
    }
    writeFileSync(file, 'rules: []');
    assert.match(await grace.ok('apply', file), new RegExp(`\\nApplied ${count + 1} changes\\n$`));
    assert.equal((await grace.status()).rules, 0);
  },
);

test('rules of one file that lead in a circle are refused before anything is changed', options, async (t) => {
  const grace = makeGrace(t);
  const blue = await startBackend(t, 'blue');
  await grace.ok('start', `unix:${grace.dir}-other`, blue.endpoint);
  const [one, two] = [`unix:${grace.dir}-a`, `unix:${grace.dir}-b`];
  const file = `${grace.dir}.yaml`;
  const { key, cert } = pemFiles(t);
  for (const [rules, place, problem] of [
    [
      [
        [one, two],
        [two, one],
      ],
      '2:',
      `${one} cannot lead to ${two}: it leads back here over ${two}`,
    ],
    [
      [
        [one, blue.endpoint],
        ['127.0.0.1:39999', 'localhost:39999'],
      ],
      '3:',
      'it is where this rule itself listens',
    ],
    [[['39999', 'tls:a.test:1:endpoint=tcp\\:127.0.0.9\\:39999']], '2:', 'it is where this rule itself listens'],
    [[[`ssl:0:privateKey=${key}:certKey=${cert}`, 'sni:a.example=9001']], '2:', 'it ends the TLS by which sni chooses'],
  ] as const) {
    writeFileSync(file, `rules:\n${rules.map(([src, dst]) => `  - {src: '${src}', dst: '${dst}'}\n`).join('')}`);
    const { code, stdout, stderr } = await grace.run('apply', file, '--dry-run');
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, new RegExp(`^grace: ${file}:${place}[0-9]+: `));
    assert.ok(stderr.includes(problem), stderr);
  }
  assert.equal((await grace.status()).rules, 1);
});

test('of changes of which one fails those before it stay, and nothing is said to be unchanged', options, async (t) => {
  const grace = makeGrace(t);
  const [blue, green] = [await startBackend(t, 'blue'), await startBackend(t, 'green')];
  const [one, two] = [`unix:${grace.dir}-a`, `unix:${grace.dir}-b`];
  await grace.ok('start', one, blue.endpoint);
  const nobody = `unix:${grace.dir}-nobody`;
  const file = `${grace.dir}.yaml`;
  writeFileSync(file, `rules:\n  - {src: '${one}', dst: '${nobody}'}\n  - {src: '${two}', dst: '${green.endpoint}'}\n`);
  const { code, stdout, stderr } = await grace.run('apply', file);
  assert.equal(code, 5);
  assert.equal(stdout, `start ${two} ${green.endpoint}\n`);
  assert.match(stderr, /\(1 of 2 changes were made\)\nhint: --no-check switches all the same\n$/);
  assert.deepEqual(
    (await grace.ls()).map(({ src, dst }) => [src, dst]),
    [
      [one, blue.endpoint],
      [two, green.endpoint],
    ],
  );
});

test('apply --watch follows the file, whatever is wrong with it in between', options, async (t) => {
  const grace = makeGrace(t);
  const [blue, green] = [await startBackend(t, 'blue'), await startBackend(t, 'green')];
  const src = `unix:${grace.dir}-a`;
  await grace.ok('start', `unix:${grace.dir}-b`, blue.endpoint);
  const file = `${grace.dir}.yaml`;
  const write = (dst: string) => {
    writeFileSync(`${file}.new`, `rules:\n  - {src: '${src}', dst: '${dst}'}\n`);
    renameSync(`${file}.new`, file);
  };
  write(blue.endpoint);
  const watching = grace.spawn('apply', file, '--watch');
  t.after(() => void watching.child.kill('SIGKILL'));
  const said = (text: string) =>
    until(
      `it says ${text}`,
      () => watching.outcome().stdout.includes(text) || watching.outcome().stderr.includes(text),
    );
  await said('Applied 2 changes\n');
  write('nonsense');
  await said('.yaml:2:');
  const told = async () => ((await grace.status()).problems ?? []).filter((each) => each.includes(file));
  await until('status tells', async () => (await told()).length === 1);
  assert.match(
    (await told())[0]!,
    /^the rules are those from before .*: .*\.yaml:2:\d+: cannot read endpoint "nonsense"/,
  );
  assert.match(grace.log(), /serving all the same .*\.yaml:2:/);
  await grace.ok('restart');
  await until('its successor tells too', async () => (await told()).length === 1);
  assert.match(await grace.ok('metrics'), /^grace_problems [1-9]/m);
  assert.equal(await (await openClient(t, { path: `${grace.dir}-a` })).line(), 'blue');
  write(green.endpoint);
  await said(`switch ${src} ${green.endpoint}\n`);
  assert.equal(await (await openClient(t, { path: `${grace.dir}-a` })).line(), 'green');
  await until('it is over', async () => (await told()).length === 0);
  watching.child.kill('SIGINT');
  assert.equal((await watching.ended).code, 130);
});
