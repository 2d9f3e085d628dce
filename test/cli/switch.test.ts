import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destinationRow } from './destination-row.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import { runWords } from './run-cli.ts';

for (const { argv, check } of [
  { argv: ['switch', 'tcp:1', 'tcp:a:2'], check: true },
  { argv: ['x', '--no-check', 'tcp:1', 'tcp:a:2'], check: false },
]) {
  test(
    `grace ${argv.join(' ')} asks ${check ? 'for' : 'for no'} check and prints Switched`,
    { timeout: 60_000 },
    async () => {
      await using daemon = await openFakeDaemon(() => [{ result: { changed: false, notes: [] } }]);
      assert.deepEqual(await runWords(['-d', daemon.dir, ...argv]), { exitCode: 0, stdout: 'Switched\n', stderr: '' });
      assert.equal(daemon.requests.length, 1);
      assert.equal(daemon.requests[0]?.['check'], check);
    },
  );
}

test('switch --wait then waits for the same source', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(({ command }) => [
    { result: command === 'wait' ? {} : { changed: true, notes: [] } },
  ]);
  assert.deepEqual(await runWords(['-d', daemon.dir, 'switch', 'tcp:1', 'tcp:a:2', '--wait']), {
    exitCode: 0,
    stdout: 'Switched\n',
    stderr: '',
  });
  const [first, second] = daemon.requests;
  assert.deepEqual([first?.['command'], second?.['command']], ['switch', 'wait']);
  assert.deepEqual(second?.['src'], first?.['src']);
});

test('switch --wait gives up after its time-out, with the switch done', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(({ command }) =>
    command === 'wait'
      ? [{ progress: { waiting: [destinationRow({ connections: 1 })] } }]
      : [{ result: { changed: true, notes: [] } }],
  );
  const { exitCode, stdout, stderr } = await runWords([
    '-d',
    daemon.dir,
    'x',
    'tcp:1',
    'tcp:a:2',
    '--wait',
    '--timeout',
    '10ms',
  ]);
  assert.deepEqual({ exitCode, stdout }, { exitCode: 124, stdout: 'Switched\n' });
  assert.match(stderr, /^grace: gave up after 10ms, still waiting for 1 connection: 1 on tcp:1 -> tcp:h:2\n$/);
});

test('a wrong time-out is refused before anything is switched', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => []);
  const { exitCode } = await runWords(['-d', daemon.dir, 'x', 'tcp:1', 'tcp:a:2', '--wait', '--timeout', 'soon']);
  assert.equal(exitCode, 2);
  assert.equal(daemon.requests.length, 0);
});

test('a time-out without anything to wait for is refused before anything is asked', { timeout: 60_000 }, async () => {
  const { exitCode, stdout, stderr } = await runWords(['switch', 'tcp:1', 'tcp:127.0.0.1:2', '--timeout', '5s']);
  assert.deepEqual([exitCode, stdout], [2, '']);
  assert.match(stderr, /^grace: --timeout limits --wait and --check-http, and there is neither\nhint: .*--wait\n$/);
});

for (const [option, http] of [
  [['/up'], { path: '/up', least: 200, most: 399, timeoutMs: 10_000 }],
  [['/up=200'], { path: '/up', least: 200, most: 200, timeoutMs: 10_000 }],
  [['/=200-299', '--timeout', '2s'], { path: '/', least: 200, most: 299, timeoutMs: 2000, limitMs: 2000 }],
  [['/up=503', '--timeout', '5m', '--wait'], { path: '/up', least: 503, most: 503, timeoutMs: 10_000 }],
  [['/up?full=yes'], { path: '/up?full=yes', least: 200, most: 399, timeoutMs: 10_000 }],
  [['/up?full=1=204'], { path: '/up?full=1', least: 204, most: 204, timeoutMs: 10_000 }],
  [['/up?a=1&id=200-200'], { path: '/up?a=1&id', least: 200, most: 200, timeoutMs: 10_000 }],
  [['/a%20b'], { path: '/a%20b', least: 200, most: 399, timeoutMs: 10_000 }],
] as const) {
  test(`switch --check-http ${option.join(' ')} asks for that`, { timeout: 60_000 }, async () => {
    await using daemon = await openFakeDaemon(({ command }) => [
      { result: command === 'wait' ? {} : { changed: true, notes: [] } },
    ]);
    assert.deepEqual(await runWords(['-d', daemon.dir, 'switch', 'tcp:1', 'tcp:a:2', '--check-http', ...option]), {
      exitCode: 0,
      stdout: 'Switched\n',
      stderr: '',
    });
    assert.deepEqual(daemon.requests[0]?.['check'], { http });
    assert.equal(daemon.requests.length, option.some((word) => word === '--wait') ? 2 : 1);
  });
}

for (const command of ['switch', 'start']) {
  for (const [value, message] of [
    ['up', /PATH begins with \//],
    ['', /PATH begins with \//],
    ['=200', /PATH begins with \//],
    ['http://a/up', /PATH begins with \//],
    ['/up=', /STATUS is 200 to 599, or a range of these, not ""/],
    ['/up=ok', /STATUS is .* not "ok"/],
    ['/up=20', /STATUS is .* not "20"/],
    ['/up=2000', /STATUS is .* not "2000"/],
    ['/up=100', /STATUS is .* not "100"/],
    ['/up=600', /STATUS is .* not "600"/],
    ['/up=299-200', /STATUS is .* not "299-200"/],
    [
      '/up?id=200',
      /"=200" may be of the query or the status\nhint: for the status 200: --check-http '\/up\?id=200-200'; else: --check-http '\/up\?id=200=200-399'\n/,
    ],
    ['/up?a=1&id=200', /may be of the query or the status/],
    ['/up#top', /PATH has no "#"/],
    ['/a b', /printable ASCII without spaces\nhint: --check-http '\/a%20b'\n/],
    ['/ä', /printable ASCII without spaces\nhint: --check-http '\/%C3%A4'\n/],
    ['/a\r\nX: y', /^grace: cannot read --check-http "\/a\\u\{d\}\\u\{a\}X: y": PATH is of printable ASCII/],
  ] as const) {
    test(
      `${command} --check-http ${JSON.stringify(value)} is refused before anything is asked`,
      { timeout: 60_000 },
      async () => {
        const { exitCode, stdout, stderr } = await runWords([
          '-d',
          '/nowhere',
          command,
          'tcp:1',
          'tcp:a:2',
          `--check-http=${value}`,
        ]);
        assert.deepEqual([exitCode, stdout], [2, '']);
        assert.match(stderr, message);
      },
    );
  }

  test(`${command} --check-http with --no-check is refused`, { timeout: 60_000 }, async () => {
    const { exitCode, stderr } = await runWords([
      '-d',
      '/nowhere',
      command,
      'tcp:1',
      'tcp:a:2',
      '--check-http',
      '/up',
      '--no-check',
      ...(command === 'start' ? ['--switch'] : []),
    ]);
    assert.equal(exitCode, 2);
    assert.match(stderr, /^grace: --check-http checks DST, and --no-check does not: they exclude each other\n$/);
  });
}
