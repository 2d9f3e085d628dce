import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { takeInherited } from '../../src/net/inherit.ts';
import type { Environment } from '../../src/net/inherit.ts';
import { Net } from '../../src/net/net.ts';
import { isOpenFd } from '../../src/sys/descriptor.ts';

test('nothing is inherited without LISTEN_FDS', () => {
  assert.deepEqual(takeInherited({}), { listeners: [], others: [] });
});

test('what is meant for another process is left alone, and forgotten', () => {
  const env: Environment = { LISTEN_FDS: '2', LISTEN_PID: String(process.ppid), LISTEN_FDNAMES: 'a:b', OTHER: 'kept' };
  assert.deepEqual(takeInherited(env), { listeners: [], others: [] });
  assert.deepEqual(env, { OTHER: 'kept' });
});

test('zero sockets are no error', () => {
  const env: Environment = { LISTEN_FDS: '0', LISTEN_FDNAMES: '' };
  assert.deepEqual(takeInherited(env), { listeners: [], others: [] });
  assert.deepEqual(env, {});
});

test('a variable that is empty is none', () => {
  for (const env of [
    { LISTEN_FDS: '' },
    { LISTEN_FDS: '', LISTEN_PID: '', LISTEN_FDNAMES: '' },
    { LISTEN_FDS: '0', LISTEN_PID: '' },
  ] as Environment[]) {
    assert.deepEqual(takeInherited(env), { listeners: [], others: [] });
    assert.deepEqual(env, {});
  }
});

test('variables that contradict themselves are an error, and are gone', () => {
  const cases: [Environment, RegExp][] = [
    [{ LISTEN_FDS: 'x' }, /LISTEN_FDS is "x"/],
    [{ LISTEN_FDS: '-1' }, /LISTEN_FDS is "-1"/],
    [{ LISTEN_FDS: '1', LISTEN_FDNAMES: 'a:b' }, /LISTEN_FDS is 1, but LISTEN_FDNAMES has 2 names/],
    [{ LISTEN_FDS: '2', LISTEN_FDNAMES: 'a' }, /LISTEN_FDNAMES has 1 names/],
    [{ LISTEN_FDS: '60000' }, /descriptor \d+ is not open/],
  ];
  for (const [env, message] of cases) {
    assert.throws(() => takeInherited(env), message);
    assert.deepEqual(env, {});
  }
});

test('a descriptor that is closed is told before any is taken', () => {
  const free = Array.from({ length: 100 }, (_, i) => i + 3).find((fd) => !isOpenFd(fd));
  assert.ok(free !== undefined);
  assert.throws(() => takeInherited({ LISTEN_FDS: String(free - 2) }), new RegExp(`descriptor ${free} is not open`));
});

test('a child of the child gets none of it', { timeout: 60_000 }, async () => {
  const net = new Net({ env: { ...process.env } });
  const listener = await net.listenTCP({ host: '127.0.0.1', port: 0 });
  // A shell, which knows nothing of the protocol, passes on what it was given; grace's children do not.
  const script = 'echo "$LISTEN_FDS,$LISTEN_PID,$LISTEN_FDNAMES"';
  const child = await net.startProcess({ file: '/bin/sh', args: ['-c', script], stdio: ['ignore', 'pipe', 'inherit'] });
  const output = (await child.stdout!.setEncoding('utf8').toArray()).join('');
  assert.equal(output, '1,,127.0.0.1/0\n');
  const own = await new Promise<string>((resolve, reject) => {
    execFile('/bin/sh', ['-c', script], (error, stdout) => (error ? reject(error) : resolve(stdout)));
  });
  assert.equal(own, ',,\n');
  listener.close();
});
