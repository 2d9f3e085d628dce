import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConnectionRow } from '../../src/control/shapes.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import { Sink, runWords } from './run-cli.ts';

const timeout = 60_000;
const tls = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', group: 'X25519MLKEM768' };
const base: ConnectionRow = {
  id: 'a1',
  src: 'tcp:9000',
  dst: 'tcp:127.0.0.1:9001',
  client: '10.0.0.7:4711',
  state: 'open',
  age: 7205.5,
  idle: 0.25,
  bytesIn: 1500,
  bytesOut: 3_000_000,
  pid: 7,
};
const connections = [
  base,
  {
    ...base,
    id: 'b2',
    client: '10.0.0.10:1',
    name: 'web',
    age: 65,
    idle: 60,
    bytesIn: 1,
    bytesOut: 5,
    state: 'half-closed',
  },
  { ...base, id: 'c3', client: '[::1]:5', age: 99_999, idle: 3, bytesIn: 9_999_999, bytesOut: 4 },
];
const answer = [
  { progress: { connections: connections.slice(0, 2) } },
  { progress: { connections: connections.slice(2) } },
  { result: { notes: ['the older process 6 does not answer'] } },
];

test('connections are listed in columns, the oldest first, and what is missing is noted', { timeout }, async () => {
  await using daemon = await openFakeDaemon(() => answer);
  const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'ls', '--connections', 'tcp:9000']);
  assert.equal(exitCode, 0);
  const lines = stdout.trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => line.split(/ {2,}/)),
    [
      ['id', 'client', 'src', 'dst', 'age', 'idle', 'in', 'out', 'state', 'pid'],
      ['c3', '[::1]:5', 'tcp:9000', 'tcp:127.0.0.1:9001', '1d', '3s', '10 MB', '4 B', 'open', '7'],
      ['a1', '10.0.0.7:4711', 'tcp:9000', 'tcp:127.0.0.1:9001', '2h', '250ms', '1.5 kB', '3.0 MB', 'open', '7'],
      ['b2', '10.0.0.10:1', 'web', 'tcp:127.0.0.1:9001', '1m', '1m', '1 B', '5 B', 'half-closed', '7'],
    ],
  );
  assert.equal(stderr, 'note: the older process 6 does not answer\n');
  assert.equal((daemon.requests[0] as { src: { typed: string } }).src.typed, 'tcp:9000');
});

for (const [by, ids] of [
  ['age', ['c3', 'a1', 'b2']],
  ['idle', ['b2', 'c3', 'a1']],
  ['in', ['c3', 'a1', 'b2']],
  ['out', ['a1', 'b2', 'c3']],
  ['client', ['c3', 'a1', 'b2']],
] as const)
  test(`they can be sorted by ${by}`, { timeout }, async () => {
    await using daemon = await openFakeDaemon(() => answer);
    const { stdout } = await runWords(['-d', daemon.dir, 'ls', '--connections', '--sort', by, '--json']);
    assert.deepEqual(
      (JSON.parse(stdout) as ConnectionRow[]).map(({ id }) => id),
      ids,
    );
  });

test('those that are alike come in the order of their ids, whoever tells of them first', { timeout }, async () => {
  const rows = ['c10', 'b9', 'a11'].map((id) => ({ ...base, id }));
  await using daemon = await openFakeDaemon(() => [{ progress: { connections: rows } }, { result: { notes: [] } }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'ls', '--connections', '--json']);
  assert.deepEqual(
    (JSON.parse(stdout) as ConnectionRow[]).map(({ id }) => id),
    ['b9', 'a11', 'c10'],
  );
});

test('TLS has a column where there is any, of either side', { timeout }, async () => {
  const rows = [
    { ...base, id: 'a', tls },
    { ...base, id: 'b', tls: { ...tls, group: undefined }, dstTls: tls },
    { ...base, id: 'c', tls, dstTls: tls, age: 1 },
  ];
  await using daemon = await openFakeDaemon(() => [{ progress: { connections: rows } }, { result: { notes: [] } }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'ls', '--connections']);
  assert.match(stdout, /^id .* tls$/m);
  assert.match(stdout, /^a .* TLSv1.3 X25519MLKEM768$/m);
  assert.match(stdout, /^b .* TLSv1.3 TLS_AES_128_GCM_SHA256 -> TLSv1.3 X25519MLKEM768$/m);
  assert.match(stdout, /^c .* -> TLSv1.3 X25519MLKEM768$/m);
});

test('what strangers name cannot steer the terminal', { timeout }, async () => {
  const rows = [{ ...base, client: 'a\u001b[31m\n', state: '\u009b2J' }];
  await using daemon = await openFakeDaemon(() => [{ progress: { connections: rows } }, { result: { notes: [] } }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'ls', '--connections'], { isTTY: true });
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(stdout, /[\u001b\u009b]/);
});

test('on a terminal no line is wider than it, and a note says that it was cut', { timeout }, async () => {
  await using daemon = await openFakeDaemon(() => answer);
  for (const columns of [80, 40, 10]) {
    const stdout = Object.assign(new Sink(), { columns });
    const { stderr } = await runWords(['-d', daemon.dir, 'ls', '--connections'], { isTTY: true, stdout });
    const widths = stdout.text.split('\n').map((line) => line.length);
    assert.ok(Math.max(...widths) <= columns, stdout.text);
    assert.match(stderr, new RegExp(`^note: cut to ${columns} columns`, 'm'));
  }
});

test('close says what is meant and prints how many there were', { timeout }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { closed: 3, notes: [] } }]);
  const words = ['close', 'web', '--client', '10.0.0.0/8', '--dst', '9001', '--idle', '10m', '--id', 'a1,b2'];
  assert.deepEqual(await runWords(['-d', daemon.dir, ...words]), { exitCode: 0, stdout: 'Closed 3\n', stderr: '' });
  const [request = {}] = daemon.requests;
  const { src, dst, ...rest } = request as Record<string, { typed: string }>;
  assert.deepEqual([src?.typed, dst?.typed], ['web', '9001']);
  assert.deepEqual(rest, { command: 'close', client: '10.0.0.0/8', idleMs: 600_000, ids: ['a1', 'b2'] });
});

for (const words of [
  ['close'],
  ['close', '--idle', '1m'],
  ['close', '--client', 'nonsense'],
  ['ls', '--sort', 'age'],
  ['ls', '--connections', '--sort', 'size'],
])
  test(`"${words.join(' ')}" is refused before anything is asked`, { timeout }, async () => {
    await using daemon = await openFakeDaemon(() => []);
    const { exitCode, stderr } = await runWords(['-d', daemon.dir, ...words]);
    assert.equal(exitCode, 2, stderr);
    assert.deepEqual(daemon.requests, []);
  });
