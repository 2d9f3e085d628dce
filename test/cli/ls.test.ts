import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destinationRow } from './destination-row.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import { runWords } from './run-cli.ts';

const rows = [
  destinationRow({ src: 'tcp:9000', dst: 'tcp:127.0.0.1:9002', connections: 1, active: true, pid: 2 }),
  destinationRow({ src: 'tcp:9000', dst: 'tcp:127.0.0.1:9001', connections: 2, pid: 2 }),
  destinationRow({
    src: 'tcp:9000',
    dst: 'tcp:127.0.0.1:9001',
    connections: 10,
    pid: 1,
    bytesIn: 1500,
    bytesOut: 3_000_000,
  }),
];

test('ls prints a head and a line a destination, with the processes of one added up', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { rows } }]);
  const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'ls']);
  assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
  assert.equal(
    stdout,
    [
      'src       dst                 connections  status',
      'tcp:9000  tcp:127.0.0.1:9002            1  active',
      'tcp:9000  tcp:127.0.0.1:9001           12  inactive',
      '',
    ].join('\n'),
  );
});

test('ls --json prints the rows of each process as the daemon sends them', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { rows } }]);
  const { exitCode, stdout } = await runWords(['-d', daemon.dir, 'ls', '--json']);
  assert.equal(exitCode, 0);
  assert.deepEqual(JSON.parse(stdout), rows);
});

test('ls without a rule prints the head alone, and an empty array with --json', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { rows: [] } }]);
  assert.equal((await runWords(['-d', daemon.dir, 'ls'])).stdout, 'src  dst  connections  status\n');
  assert.equal((await runWords(['-d', daemon.dir, 'ls', '--json'])).stdout, '[]\n');
});

test('ls --long prints a line a process', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { rows } }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'ls', '-l']);
  const [table = '', places] = stdout.trimEnd().split('\n\n');
  const [head, ...lines] = table.split('\n').map((line) => line.split(/ {2,}/));
  assert.deepEqual(head, ['src', 'dst', 'conns', 'status', 'pid', 'in', 'out', 'age']);
  assert.equal(lines.length, 3);
  const [age = '', ...cells] = lines[2]!.toReversed();
  assert.match(age, /^[0-9]+d$/);
  assert.deepEqual(cells.reverse(), ['tcp:9000', 'tcp:127.0.0.1:9001', '10', 'inactive', '1', '1.5 kB', '3.0 MB']);
  assert.equal(places, 'tcp:9000 listens on 0.0.0.0:1');
});

test('ls --long has room in 100 columns with usual endpoints, names and many digits', { timeout: 60_000 }, async () => {
  const usual = { pid: 4_000_000, bytesIn: 999_000_000_000, bytesOut: 123_000_000, connections: 45_678 };
  const long = [
    destinationRow({
      ...usual,
      src: 'tcp:8080:interface=127.0.0.1',
      dst: 'tcp:192.168.10.20:9001',
      listening: '127.0.0.1:8080',
    }),
    destinationRow({
      ...usual,
      src: 'tls:/etc/letsencrypt/live:443:interface=::',
      name: 'www',
      dst: 'unix:/run/app.sock',
      listening: '[::]:443',
    }),
    destinationRow({
      ...usual,
      src: 'unix:/run/grace/app.sock',
      dst: 'tcp:10.0.0.12:65535',
      listening: '/run/grace/app.sock',
    }),
  ];
  await using daemon = await openFakeDaemon(() => [{ result: { rows: long } }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'ls', '-l']);
  for (const line of stdout.split('\n')) assert.ok(line.length <= 100, `${line.length}: ${line}`);
  assert.match(stdout, /^www +unix:/m);
  assert.match(
    stdout,
    /\n\ntcp:8080:interface=127\.0\.0\.1 listens on 127\.0\.0\.1:8080\nwww is tls:.*:: and listens on \[::\]:443\n$/,
  );
});

test('an endpoint with control characters cannot break the table', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [
    { result: { rows: [destinationRow({ src: 'unix:/a\nb\u001b[2J' })] } },
  ]);
  const { stdout } = await runWords(['-d', daemon.dir, 'ls']);
  assert.equal(stdout.split('\n').length, 3);
  assert.ok(stdout.includes('unix:/a\\u{a}b\\u{1b}[2J'), stdout);
});

test('a kept rule that cannot be served is shown as failed, and why', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [
    { result: { rows: [destinationRow({ error: 'address in use' })] } },
  ]);
  const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'ls']);
  assert.equal(exitCode, 0);
  assert.match(stdout, / failed\n$/);
  assert.equal(stderr, 'note: tcp:1 is not served: address in use\n');
});

test('ls has colours on a terminal, and none with NO_COLOR', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { rows } }]);
  const plain = await runWords(['-d', daemon.dir, 'ls'], { isTTY: true, env: { NO_COLOR: '1' } });
  const coloured = await runWords(['-d', daemon.dir, 'ls'], { isTTY: true });
  assert.ok(!plain.stdout.includes('\u001b'));
  assert.ok(coloured.stdout.includes('\u001b[32mactive\u001b'));
});
