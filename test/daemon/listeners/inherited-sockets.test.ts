/** Which of the sockets that the daemon was started with a rule gets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSocket } from '../../../src/daemon/listeners/inherited-sockets.ts';
import type { InheritedSocket } from '../../../src/daemon/listeners/inherited-sockets.ts';
import type { SystemdServer } from '../../../src/endpoint/model.ts';
import { parseServer } from '../../../src/endpoint/server.ts';
import type { Listener } from '../../../src/net/listener.ts';

function socket(index: number, name: string, family: 'inet' | 'inet6'): InheritedSocket {
  const host = family === 'inet' ? '127.0.0.1' : '::1';
  return { fd: 3 + index, index, name, listener: { address: { family, host, port: 9000 + index } } as Listener };
}

const web = socket(0, 'web', 'inet');
const web6 = socket(1, 'web', 'inet6');
const other = socket(2, 'other', 'inet');
const inherited = [web, web6, other];

function choose(
  text: string,
  { used = [], mustBeOne = true }: { used?: InheritedSocket[]; mustBeOne?: boolean } = {},
): Listener {
  const users = new Map(used.map(({ listener, name }) => [listener, `systemd:name=${name}`]));
  return chooseSocket(parseServer(text) as SystemdServer, { inherited, users, mustBeOne });
}

test('a socket is found by its name, its index, its family', () => {
  assert.equal(choose('systemd:domain=INET:name=other'), other.listener);
  assert.equal(choose('systemd:domain=INET6:index=1'), web6.listener);
  assert.equal(choose('systemd:domain=INET:name=web'), web.listener);
});

for (const [text, message, hint] of [
  [
    'systemd:domain=INET:name=missing',
    'no socket named "missing" was passed to the daemon',
    /grace daemon, run by a service/,
  ],
  ['systemd:domain=INET:index=7', 'no socket with index 7 was passed to the daemon', /socket unit/],
  ['systemd:domain=INET6:name=other', 'the socket named "other" is of the family INET, not INET6', undefined],
  [
    'systemd:name=web',
    '2 sockets named "web" were passed to the daemon: 127.0.0.1:9000 (index 0), [::1]:9001 (index 1)',
    /systemd:index=0/,
  ],
] as const) {
  test(`${text} names no socket, and is told why`, () => {
    assert.throws(() => choose(text), { name: 'GraceError', message, ...(hint ? { hint } : {}) });
  });
}

test('a socket has one rule', () => {
  assert.throws(() => choose('systemd:domain=INET:name=other', { used: [other] }), {
    message: 'the socket named "other" is used by systemd:name=other already',
    hint: /grace stop systemd:name=other/,
  });
});

test('a rule that was kept before names had to be clear gets the first that is free', () => {
  assert.equal(choose('systemd:name=web', { mustBeOne: false }), web.listener);
  assert.equal(choose('systemd:name=web', { mustBeOne: false, used: [web] }), web6.listener);
});
