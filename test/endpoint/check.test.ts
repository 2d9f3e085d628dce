import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { checkClient, checkServer, type CheckServerOptions } from '../../src/endpoint/check.ts';
import { parseClient } from '../../src/endpoint/client.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { parseServer } from '../../src/endpoint/server.ts';

const timeout = 60_000;
const mine = { LISTEN_FDS: '3', LISTEN_PID: `${process.pid}`, LISTEN_FDNAMES: 'web:admin:local' };

function refusal(text: string, options: CheckServerOptions): string {
  try {
    checkServer(parseServer(text), { text, ...options });
  } catch (error) {
    assert.ok(error instanceof EndpointError);
    return error.message;
  }
  assert.fail(`${text} was accepted`);
}

test('an inherited socket is found by its index and by its name', { timeout }, () => {
  for (const text of ['systemd:index=0', 'systemd:index=2', 'systemd:name=admin', 'haproxy:systemd:name=web']) {
    assert.deepEqual(checkServer(parseServer(text), { env: mine }), []);
  }
});

test('a socket that is not among the inherited ones is refused', { timeout }, () => {
  assert.equal(
    refusal('systemd:INET:3', { env: mine }),
    'cannot use endpoint "systemd:INET:3": no such descriptor: index 3, and 3 sockets were inherited',
  );
  assert.match(refusal('systemd:name=www', { env: mine }), /no such descriptor: name "www".*web, admin, local$/);
  assert.match(
    refusal('systemd:name=web', { env: { ...mine, LISTEN_FDNAMES: 'web' } }),
    /no such descriptor.*without names/,
  );
  assert.match(refusal('systemd:index=0', { env: {} }), /no such descriptor.*0 sockets were inherited/);
  assert.match(refusal('systemd:index=0', { env: { ...mine, LISTEN_PID: '1' } }), /no such descriptor/);
  assert.match(refusal('systemd:index=0', { env: { ...mine, LISTEN_FDS: 'many' } }), /no such descriptor/);
});

test('a process that does not serve compares with what is announced, to anybody, if anything is', { timeout }, () => {
  const isServing = false;
  assert.deepEqual(checkServer(parseServer('systemd:index=9'), { env: {}, isServing }), []);
  assert.deepEqual(checkServer(parseServer('systemd:index=1'), { env: { ...mine, LISTEN_PID: '1' }, isServing }), []);
  assert.match(refusal('systemd:index=9', { env: { ...mine, LISTEN_PID: '1' }, isServing }), /no such descriptor/);
});

test('a descriptor that is not there is refused', { timeout }, () => {
  assert.match(refusal('fd:99999', {}), /no such descriptor: 99999 is not a socket that this process inherited$/);
});

test('a descriptor is accepted when it is a socket', { timeout: 60_000 }, async (t) => {
  // The pipe that both runtimes give a child as descriptor 3 is a Unix socket.
  const checker = fileURLToPath(new URL('check-descriptors.ts', import.meta.url));
  const runtimeArguments = 'Deno' in globalThis ? ['run', '-A', '--no-check'] : [];
  const child = spawn(process.execPath, [...runtimeArguments, checker, '0', '3'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    signal: t.signal,
  });
  assert.ok(child.stdout);
  const [output] = await Promise.all([readAll(child.stdout), once(child, 'exit')]);
  assert.equal(output, 'fd:0 refused\nfd:3 accepted\n');
});

test('a socket path that no address can hold is refused', { timeout }, () => {
  const long = `/${'a'.repeat(150)}`;
  assert.match(
    refusal(`unix:${long}`, {}),
    /path too long: "\/a+" has 151 bytes, and a socket's path at most 10[0-9]$/,
  );
  assert.throws(() => checkClient(parseClient(`unix:${long}`)), /path too long/);
  assert.throws(() => checkClient(parseClient(`tls:h:1:endpoint=unix\\:${long}`)), /path too long/);
  assert.deepEqual(checkClient(parseClient('unix:/a')), []);
});

test('an endpoint without files or inherited sockets has nothing to check', { timeout }, () => {
  for (const text of ['tcp:80', 'tcp6:80', 'stdio:', 'haproxy:tcp:80', 'unix:/a'])
    assert.deepEqual(checkServer(parseServer(text)), []);
  for (const text of ['tcp:h:80', 'tls:h:80', 'ssl:h:80']) assert.deepEqual(checkClient(parseClient(text)), []);
});
