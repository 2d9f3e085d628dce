import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { test } from 'node:test';
import { GraceError } from '../../src/error.ts';
import type { Listener } from '../../src/net/listener.ts';
import { openListener } from '../../src/net/open.ts';
import { PortHolders } from '../../src/net/port-holder.ts';
import type { ListenSpec } from '../../src/net/open.ts';
import { isCloseOnExec } from '../../src/sys/descriptor.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { timeout: 60_000 };
const hasIPv6 = Object.values(os.networkInterfaces()).some((infos) => infos?.some(({ family }) => family === 'IPv6'));

async function withListener(spec: ListenSpec, use: (listener: Listener) => Promise<void> | void): Promise<void> {
  const listener = await openListener(spec, { name: 'test' });
  try {
    await use(listener);
  } finally {
    listener.close();
  }
}

function portOf({ address }: Listener): number {
  assert.ok(address.family !== 'unix');
  return address.port;
}

async function failure(spec: ListenSpec): Promise<GraceError> {
  const error = await openListener(spec, { name: 'test' }).then(
    (listener) => listener.close(),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof GraceError);
  return error;
}

test('a listener knows its address, its queue and its socket', options, async () => {
  await withListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, async (listener) => {
    assert.deepEqual(listener.address, { family: 'inet', host: '127.0.0.1', port: portOf(listener) });
    assert.ok(portOf(listener) > 0);
    assert.equal(listener.name, 'test');
    if (process.platform === 'linux') assert.equal(listener.backlog, 50);
    assert.ok(listener.inode > 0);
    assert.equal(isCloseOnExec(listener.fd), true);
    const client = net.connect(portOf(listener), '127.0.0.1');
    await once(client, 'connect');
    client.destroy();
  });
});

test('a closed listener refuses, twice closed is fine, and cannot be duplicated', options, async () => {
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: '' });
  listener.close();
  listener.close();
  assert.equal(listener.isOpen, false);
  assert.throws(() => listener.dup(), GraceError);
  const [error] = (await once(net.connect(portOf(listener), '127.0.0.1'), 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});

test('an empty host is every IPv4 address, and a name is resolved', options, async () => {
  await withListener({ kind: 'tcp', host: '', port: 0, backlog: 50 }, ({ address }) => {
    assert.ok(address.family === 'inet' && address.host === '0.0.0.0');
  });
  await withListener({ kind: 'tcp', host: 'localhost', port: 0, backlog: 50, family: 'inet' }, ({ address }) => {
    assert.ok(address.family === 'inet' && address.host === '127.0.0.1');
  });
});

test(
  'an IPv6 address makes an IPv6 listener, and the wildcard takes IPv4 too',
  { ...options, skip: !hasIPv6 && 'no IPv6' },
  async () => {
    await withListener({ kind: 'tcp', host: '::1', port: 0, backlog: 50 }, ({ address }) => {
      assert.ok(address.family === 'inet6' && address.host === '::1');
    });
    await withListener({ kind: 'tcp', host: '::', port: 0, backlog: 50 }, async (listener) => {
      const client = net.connect(portOf(listener), '127.0.0.1');
      await once(client, 'connect');
      client.destroy();
    });
  },
);

test('a port in use is an error that names address, reason and holder', options, async () => {
  await withListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, async (listener) => {
    const error = await failure({ kind: 'tcp', host: '127.0.0.1', port: portOf(listener), backlog: 50 });
    assert.equal(
      error.message,
      `cannot listen on tcp:127.0.0.1:${portOf(listener)}: address already in use (EADDRINUSE)`,
    );
    if (process.platform === 'linux')
      assert.match(error.hint ?? '', new RegExp(`\\(pid ${process.pid}\\) listens there$`));
  });
});

test(
  'those who find a thousand ports in use share a look at every process, and a listener that came later is found',
  { ...options, skip: process.platform !== 'linux' && 'reads /proc' },
  async () => {
    const holders = new PortHolders();
    await withListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, async (first) => {
      for (let count = 0; count < 1000; count++) assert.equal(holders.find(portOf(first))?.pid, process.pid);
      assert.ok(holders.looks < 100, `${holders.looks} looks`);
      await withListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, (second) => {
        assert.equal(holders.find(portOf(second))?.pid, process.pid);
      });
    });
  },
);

test('a port that was in use a moment ago can be listened on', options, async () => {
  const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name: '' });
  const server = net.createServer((socket) => socket.end());
  server.listen({ fd: listener.dup(), backlog: 50 });
  const client = net.connect(portOf(listener), '127.0.0.1').resume();
  await once(client, 'close');
  server.close();
  await once(server, 'close');
  listener.close();
  await withListener({ kind: 'tcp', host: '127.0.0.1', port: portOf(listener), backlog: 50 }, () => {});
});

test('what cannot be had is said', options, async () => {
  const cases: [ListenSpec, RegExp, RegExp | undefined][] = [
    [
      { kind: 'tcp', host: '192.0.2.1', port: 80, backlog: 1 },
      /^cannot listen on tcp:192\.0\.2\.1:80: .* \(EADDRNOTAVAIL\)$/,
      /no interface/,
    ],
    [{ kind: 'tcp', host: '127.0.0.1', port: 70000, backlog: 1 }, /: port 70000 is not one of 0 to 65535$/, undefined],
    [
      { kind: 'tcp', host: 'name.invalid', port: 80, backlog: 1 },
      /^cannot listen on tcp:name\.invalid:80: the name cannot be resolved/,
      undefined,
    ],
    [{ kind: 'unix', path: '', mode: 0o600, backlog: 1 }, /the path is empty/, undefined],
    [
      { kind: 'unix', path: `/tmp/${'x'.repeat(120)}`, mode: 0o600, backlog: 1 },
      /its path is 125 bytes long, the system takes 10[37] at most/,
      /shorter/,
    ],
    [
      { kind: 'unix', path: '/nonexistent/x', mode: 0o600, backlog: 1 },
      /^cannot listen on unix:\/nonexistent\/x: .*\(ENOENT\)/,
      /directory/,
    ],
  ];
  for (const [spec, message, hint] of cases) {
    const error = await failure(spec);
    assert.match(error.message, message);
    if (hint !== undefined) assert.match(error.hint ?? '', hint);
  }
});

test('a Unix socket has its mode whatever the umask', options, async () => {
  using temp = makeTempDir();
  const umask = process.umask(0o077);
  try {
    for (const mode of [0o666, 0o600, 0o640]) {
      const path = temp.file(mode.toString(8));
      await withListener({ kind: 'unix', path, mode, backlog: 9 }, ({ address, backlog }) => {
        assert.deepEqual(address, { family: 'unix', path });
        assert.equal(fs.statSync(path).mode & 0o7777, mode);
        if (process.platform === 'linux') assert.equal(backlog, 9);
      });
    }
  } finally {
    process.umask(umask);
  }
});

test('an abstract name has no file', { ...options, skip: process.platform !== 'linux' && 'Linux only' }, async () => {
  const path = `\0grace-open-${process.pid}`;
  await withListener({ kind: 'unix', path, mode: 0o600, backlog: 5 }, async ({ address, socketFile }) => {
    assert.deepEqual(address, { family: 'unix', path });
    assert.equal(socketFile, undefined);
    const client = net.connect(path);
    await once(client, 'connect');
    client.destroy();
    assert.match(
      (await failure({ kind: 'unix', path, mode: 0o600, backlog: 5 })).message,
      /unix:@grace-open-\d+: .*\(EADDRINUSE\)/,
    );
  });
  assert.match(
    (await failure({ kind: 'unix', path, mode: 0o600, backlog: 5, lockfile: true })).message,
    /no file to lock/,
  );
});

test('a name that LISTEN_FDNAMES cannot carry is refused', options, async () => {
  for (const name of ['a:b', 'ü', 'x'.repeat(256), 'a\nb']) {
    await assert.rejects(
      openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 5 }, { name }),
      /name of a listener/,
    );
  }
});
