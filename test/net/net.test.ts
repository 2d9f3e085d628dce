import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { closeFd, inodeOf, isNonBlocking, openFd } from '../../src/sys/descriptor.ts';
import { collectGarbage, exposeCollect } from '../../src/sys/garbage.ts';
import { adoptFd } from '../../src/net/listener.ts';
import type { Listener } from '../../src/net/listener.ts';
import { Net } from '../../src/net/net.ts';
import type { ProcessOptions } from '../../src/net/start-program.ts';
import { openServingNotice } from '../../src/net/serving-notice.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { timeout: 60_000 };
const tellInherited = fileURLToPath(new URL('./fixtures/tell-inherited.ts', import.meta.url));
const program = 'Deno' in globalThis ? ['run', '-A', '--no-check', tellInherited] : [tellInherited];

type Told = {
  pid: number;
  listeners: { fd: number; name: string; address: object; inode: number; backlog: number }[];
  others: { fd: number; name: string }[];
  parent: number | null;
  links: Record<string, string>;
  environment: string[];
  cwd: string;
  args: string[];
};

async function startTelling(
  net: Net,
  processOptions: ProcessOptions = {},
): Promise<{ told: Told; child: ChildProcess }> {
  const child = await net.startProcess({
    file: process.execPath,
    args: [...program, 'one', 'two'],
    stdio: ['pipe', 'pipe', 'inherit'],
    ...processOptions,
  });
  let output = '';
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    // The input stays open until it has told, so that it cannot end before.
    if (output.includes('\n')) child.stdin!.end();
  });
  await once(child.stdout!, 'end');
  return { told: JSON.parse(output) as Told, child };
}

test('the successor gets the very sockets, by name, in order, and nothing in its environment', options, async () => {
  using temp = makeTempDir();
  const net = new Net();
  const tcp = await net.listenTCP({ host: '127.0.0.1', port: 0, backlog: 33, name: 'web' });
  const unix = await net.listenUnix({ path: temp.file('s'), backlog: 44 });
  const { told } = await startTelling(net);
  assert.deepEqual(
    told.listeners.map(({ fd, name, address, inode }) => ({ fd, name, address, inode })),
    [
      { fd: 3, name: 'web', address: tcp.address, inode: tcp.inode },
      { fd: 4, name: temp.file('s'), address: unix.address, inode: unix.inode },
    ],
  );
  if (process.platform === 'linux')
    assert.deepEqual(
      told.listeners.map(({ backlog }) => backlog),
      [33, 44],
    );
  assert.deepEqual(told.environment, []);
  assert.equal(told.parent, process.pid);
  assert.deepEqual(told.args, ['one', 'two']);
  net.close({ removePaths: 'service' });
});

test(
  'the successor gets no other descriptor of ours',
  { ...options, skip: process.platform !== 'linux' && 'Linux only' },
  async () => {
    const net = new Net();
    const given = await net.listenTCP({ host: '127.0.0.1', port: 0 });
    const kept = await new Net().listenTCP({ host: '127.0.0.1', port: 0 });
    const file = openFd('/etc/passwd', { flags: 0 });
    const { told } = await startTelling(net);
    const links = Object.values(told.links);
    assert.equal(links.filter((link) => link === `socket:[${given.inode}]`).length, 1);
    assert.equal(links.filter((link) => link === `socket:[${kept.inode}]`).length, 0);
    assert.equal(links.includes('/etc/passwd'), false);
    closeFd(file);
    kept.close();
    given.close();
  },
);

test('a listener that was passed to a successor still does not block', options, async () => {
  const net = new Net();
  const listener = await net.listenTCP({ host: '127.0.0.1', port: 0 });
  const file = openFd('/dev/null', { flags: 0 });
  const child = await net.startProcess({ file: 'true', args: [], extras: [{ fd: file, name: 'file' }] });
  await once(child, 'exit');
  assert.equal(isNonBlocking(listener.fd), true);
  assert.equal(isNonBlocking(file), false);
  closeFd(file);
  listener.close();
});

test('a closed listener is not handed on', options, async () => {
  const net = new Net();
  const [closed, open] = [
    await net.listenTCP({ host: '127.0.0.1', port: 0 }),
    await net.listenTCP({ host: '127.0.0.1', port: 0 }),
  ];
  closed.close();
  assert.deepEqual(net.activeListeners(), [open]);
  const { told } = await startTelling(net);
  assert.deepEqual(
    told.listeners.map(({ inode }) => inode),
    [open.inode],
  );
  open.close();
});

test('the file of a socket that the successor was not given is removed, as nobody else will', options, async () => {
  using temp = makeTempDir();
  const net = new Net();
  const [closed] = [
    await net.listenUnix({ path: temp.file('closed') }),
    await net.listenUnix({ path: temp.file('passed') }),
  ];
  closed.close();
  await once(await net.startProcess({ file: 'true', args: [] }), 'exit');
  await net.listenUnix({ path: temp.file('late') });
  net.close({ removePaths: 'none' });
  assert.deepEqual(fs.readdirSync(temp.path), ['passed']);
});

test(
  'a successor gives notice before it signals, and only a predecessor that waits for it',
  { ...options, skip: process.platform !== 'linux' && 'Linux only' },
  async () => {
    const net = new Net();
    const notice = openServingNotice();
    const child = await net.startProcess({ file: 'sleep', args: ['60'], notice });
    assert.equal(notice.hasCome(), false);
    const environment = fs.readFileSync(`/proc/${child.pid}/environ`, 'utf8').split('\0');
    assert.ok(environment.includes('GRACE_SERVING_FD=3') && environment.includes('LISTEN_FDS=0'));
    child.kill('SIGKILL');
    await once(child, 'exit');
    // Its end is no notice.
    assert.equal(notice.hasCome(), false);
    notice.close();
    const other = await net.startProcess({ file: 'sleep', args: ['60'] });
    assert.doesNotMatch(fs.readFileSync(`/proc/${other.pid}/environ`, 'utf8'), /GRACE_SERVING_FD/);
    other.kill('SIGKILL');
    await once(other, 'exit');
  },
);

test('other descriptors can be passed along under a name', options, async () => {
  const net = new Net();
  const listener = await net.listenTCP({ host: '127.0.0.1', port: 0, name: 'web' });
  const file = openFd('/dev/null', { flags: 0 });
  const { told } = await startTelling(net, { extras: [{ fd: file, name: 'lock' }] });
  assert.deepEqual(told.others, [{ fd: 4, name: 'lock' }]);
  assert.deepEqual(
    told.listeners.map(({ name }) => name),
    ['web'],
  );
  assert.notEqual(inodeOf(file), 0);
  closeFd(file);
  listener.close();
});

test("descriptors that have the numbers of one another's places arrive in their own", options, async () => {
  using temp = makeTempDir();
  const files = Array.from({ length: 60 }, (_, index) => temp.file(String(index)));
  for (const file of files) fs.writeFileSync(file, '');
  const fds = files.map((file) => openFd(file, { flags: 0 }));
  assert.ok(fds[0]! < 3 + fds.length, 'they overlap');
  const net = new Net();
  const { told } = await startTelling(net, { extras: fds.toReversed().map((fd) => ({ fd, name: 'file' })) });
  const arrived = told.others.map(({ fd }) => told.links[fd]);
  if (process.platform === 'linux') assert.deepEqual(arrived, files.toReversed());
  fds.forEach(closeFd);
});

test('a program that cannot be started is an error', options, async () => {
  await assert.rejects(new Net().startProcess({ file: '/nonexistent/program' }), {
    name: 'GraceError',
    message: 'cannot start /nonexistent/program: no such file or directory (ENOENT)',
  });
  // Of a directory that is not there the system says the same.
  await assert.rejects(new Net().startProcess({ file: process.execPath, cwd: '/nonexistent/directory' }), {
    message: `cannot start ${process.execPath}: in the directory /nonexistent/directory: no such file or directory (ENOENT)`,
  });
});

test('an inherited socket is found by its address, whatever the spelling of the wildcard', options, async () => {
  const opened = await new Net().listenTCP({ host: '', port: 0 });
  assert.ok(opened.address.family !== 'unix');
  const { port } = opened.address;
  for (const host of ['', '0.0.0.0', '::']) {
    const net = inheritor(opened.dup());
    assert.equal((await net.listenTCP({ host, port })).inode, opened.inode);
    net.close({ removePaths: 'none' });
  }
  const net = inheritor(opened.dup());
  const other = await net.listenTCP({ host: '127.0.0.1', port: 0 });
  assert.notEqual(other.inode, opened.inode);
  assert.deepEqual(
    net.closeUnused().map(({ inode }) => inode),
    [opened.inode],
  );
  net.close({ removePaths: 'none' });
  opened.close();
});

test('port 0 finds the socket that was opened for the same request', options, async () => {
  const opened = await new Net().listenTCP({ host: '127.0.0.1', port: 0 });
  const net = inheritor(opened.dup(), opened.name);
  assert.equal((await net.listenTCP({ host: '127.0.0.1', port: 0 })).inode, opened.inode);
  assert.notEqual((await net.listenTCP({ host: '127.0.0.1', port: 0 })).inode, opened.inode);
  net.close({ removePaths: 'none' });
  opened.close();
});

/** A Net that has inherited one listener. */
function inheritor(fd: number, name = 'unknown'): Net {
  return new Net({ inherited: { listeners: [adoptFd(fd, { name })], others: [] } });
}

test(
  'listeners that were closed are forgotten before they are many, unless they left a file',
  { ...options, skip: 'Deno' in globalThis && 'no way to collect garbage' },
  async () => {
    exposeCollect();
    using temp = makeTempDir();
    const net = new Net({ env: {} });
    const closed: WeakRef<Listener>[] = [];
    while (closed.length < 200) closed.push(new WeakRef(await openAndClose(net)));
    const removed = await net.listenUnix({ path: temp.file('removed') });
    removed.close();
    fs.rmSync(temp.file('removed'));
    const left = await net.listenUnix({ path: temp.file('left') });
    left.close();
    await net.listenTCP({ host: '127.0.0.1', port: 0 });
    await setImmediate();
    collectGarbage();
    const kept = closed.filter((each) => each.deref() !== undefined);
    assert.ok(kept.length <= 64, `${kept.length} of ${closed.length} are kept`);
    // The file is of no use to anybody.
    net.close({ removePaths: 'service' });
    assert.deepEqual(fs.readdirSync(temp.path), []);
  },
);

async function openAndClose(net: Net): Promise<Listener> {
  const listener = await net.listenTCP({ host: '127.0.0.1', port: 0 });
  listener.close();
  return listener;
}
