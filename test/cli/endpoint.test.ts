import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { openTempDir, runWords } from './run-cli.ts';

test('endpoint explains every parameter, a line each', { timeout: 60_000 }, async () => {
  const { exitCode, stdout, stderr } = await runWords(['endpoint', 'server', 'tcp:8080:interface=127.0.0.1']);
  assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
  const names = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ +/).slice(0, 2).join(' '));
  assert.deepEqual(names, ['type tcp', 'port 8080', 'interface 127.0.0.1', 'backlog 4096']);
});

for (const [role, text, expected] of [
  ['server', 'tcp:0123', { type: 'tcp', port: 123, interface: '', backlog: 4096 }],
  ['client', 'tcp:h:80', { type: 'tcp', host: 'h', port: 80, timeout: 30, bindAddress: null }],
  ['server', 'systemd:INET:0', { type: 'systemd', domain: 'INET', index: 0, name: null }],
  ['server', 'stdio:', { type: 'stdio' }],
] as const) {
  test(`endpoint ${role} ${text} --json prints its normal form`, { timeout: 60_000 }, async () => {
    const { exitCode, stdout } = await runWords(['endpoint', role, text, '--json']);
    assert.equal(exitCode, 0);
    assert.deepEqual(JSON.parse(stdout), expected);
  });
}

for (const argv of [
  ['server', 'tcp:http'],
  ['client', ''],
  ['server', '--', '-tcp:80'],
  ['client', 'tcp:h'],
]) {
  test(
    `endpoint ${argv.join(' ')} exits with 2, and with --json prints the error on stdout too`,
    { timeout: 60_000 },
    async () => {
      const plain = await runWords(['endpoint', ...argv]);
      assert.deepEqual([plain.exitCode, plain.stdout], [2, '']);
      assert.match(plain.stderr, /^grace: cannot read endpoint "/);
      const json = await runWords(['endpoint', '--json', ...argv]);
      assert.equal(json.exitCode, 2);
      assert.equal(json.stderr, plain.stderr);
      assert.equal(json.stderr.split('\n')[0], `grace: ${JSON.parse(json.stdout).error}`);
    },
  );
}

test(
  'endpoint looks for the files of an endpoint where the user is, and prints their names as given',
  { timeout: 60_000 },
  async () => {
    using dir = openTempDir();
    const { exitCode, stdout, stderr } = await runWords(
      ['endpoint', 'server', 'ssl:443:privateKey=key.pem', '--json'],
      { cwd: dir.path },
    );
    assert.equal(exitCode, 2);
    assert.match(JSON.parse(stdout).error, /key\.pem/);
    assert.ok(stderr.includes('ssl:443:privateKey=key.pem'), stderr);
  },
);

test('a descriptor is refused unless it is a socket that was inherited', async () => {
  const { exitCode, stdout } = await runWords(['endpoint', 'server', 'fd:1000', '--json']);
  assert.equal(exitCode, 2);
  assert.match(JSON.parse(stdout).error, /no such descriptor/);
});

test(
  'endpoint tells a person of an RSA key that is expensive, and a program nothing',
  { timeout: 60_000 },
  async () => {
    using dir = openTempDir();
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-nodes',
        '-newkey',
        'rsa:3072',
        '-days',
        '300',
        '-subj',
        '/CN=big',
        '-keyout',
        'key.pem',
        '-out',
        'cert.pem',
      ],
      { cwd: dir.path, stdio: 'pipe' },
    );
    const words = ['endpoint', 'server', 'ssl:443:privateKey=key.pem:certKey=cert.pem'];
    const plain = await runWords(words, { cwd: dir.path });
    assert.equal(plain.exitCode, 0);
    assert.match(plain.stderr, /^note: certKey ".*cert\.pem": its RSA key has 3072 bits, .*\n$/);
    const json = await runWords([...words, '--json'], { cwd: dir.path });
    assert.deepEqual([json.exitCode, json.stderr], [0, '']);
    assert.equal(JSON.parse(json.stdout).certKey, 'cert.pem');
  },
);
