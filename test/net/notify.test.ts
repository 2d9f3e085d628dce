import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNotifier } from '../../src/net/notify.ts';
import { closeFd, inodeOf, openFd } from '../../src/sys/descriptor.ts';
import { makeManager } from './manager.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { skip: process.platform !== 'linux' && 'Linux only', timeout: 60_000 };

test('without NOTIFY_SOCKET there is nobody to notify', () => {
  for (const NOTIFY_SOCKET of [undefined, '', 'relative', '@', '/'])
    assert.equal(openNotifier({ NOTIFY_SOCKET }), null);
});

test('the manager hears every state, on a path and on an abstract name', options, () => {
  using temp = makeTempDir();
  for (const address of [temp.file('notify'), `@grace-notify-${process.pid}`]) {
    using manager = makeManager(address);
    const notifier = openNotifier({ NOTIFY_SOCKET: address });
    assert.ok(notifier !== null);
    notifier.ready();
    notifier.ready({ mainPid: 7, status: 'Serving' });
    notifier.stopping();
    notifier.status('two\nlines');
    notifier.mainPid(8);
    notifier.watchdog();
    notifier.extendTimeout(1500);
    assert.deepEqual(manager.messages(), [
      'READY=1',
      'READY=1\nMAINPID=7\nSTATUS=Serving',
      'STOPPING=1',
      'STATUS=two lines',
      'MAINPID=8',
      'WATCHDOG=1',
      'EXTEND_TIMEOUT_USEC=1500000',
    ]);
  }
});

test('a reload tells when it began, on the clock of the manager', options, () => {
  using manager = makeManager(`@grace-reload-${process.pid}`);
  const before = process.hrtime.bigint() / 1000n;
  openNotifier({ NOTIFY_SOCKET: manager.address })?.reloading({ status: 'Restarting' });
  const after = process.hrtime.bigint() / 1000n;
  const match = /^RELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=Restarting$/.exec(manager.messages()[0] ?? '');
  assert.ok(match !== null);
  const at = BigInt(match[1] ?? 0);
  assert.ok(before <= at && at <= after);
});

test('descriptors are stored under a name, many in more than one message', options, () => {
  using manager = makeManager(`@grace-store-${process.pid}`);
  const notifier = openNotifier({ NOTIFY_SOCKET: manager.address });
  const file = openFd('/dev/null', { flags: 0 });
  notifier?.storeFds([file], { name: 'web' });
  notifier?.storeFds(Array<number>(300).fill(file), { name: 'many' });
  notifier?.removeFds({ name: 'web' });
  const received = manager.receive();
  assert.deepEqual(
    received.map(({ text, fds }) => [text, fds.length]),
    [
      ['FDSTORE=1\nFDNAME=web', 1],
      ['FDSTORE=1\nFDNAME=many', 253],
      ['FDSTORE=1\nFDNAME=many', 47],
      ['FDSTOREREMOVE=1\nFDNAME=web', 0],
    ],
  );
  assert.ok(received.every(({ fds }) => fds.every((fd) => inodeOf(fd) === inodeOf(file))));
  closeFd(file);
});

test('a barrier waits until the manager lets go of its descriptor', options, async () => {
  using manager = makeManager(`@grace-barrier-${process.pid}`);
  const notifier = openNotifier({ NOTIFY_SOCKET: manager.address });
  assert.ok(notifier !== null);
  const order: string[] = [];
  const passed = notifier.barrier().then(() => order.push('passed'));
  const [message] = manager.receive({ keep: true });
  assert.deepEqual([message?.text, message?.fds.length], ['BARRIER=1', 1]);
  await new Promise((resolve) => setImmediate(resolve));
  order.push('read');
  message?.fds.forEach(closeFd);
  await passed;
  assert.deepEqual(order, ['read', 'passed']);
});

test('a manager that has gone is no error, and a barrier does not wait for it', options, async () => {
  const notifier = openNotifier({ NOTIFY_SOCKET: `@grace-nobody-${process.pid}` });
  notifier?.ready();
  await notifier?.barrier();
});

test('a manager that does not answer a barrier is waited for until the time has passed', options, async () => {
  using manager = makeManager(`@grace-silent-${process.pid}`);
  await openNotifier({ NOTIFY_SOCKET: manager.address })?.barrier({ timeoutMs: 20 });
  assert.deepEqual(manager.messages(), ['BARRIER=1']);
});

test('the watchdog wants half its time, and only of the process it names', () => {
  const interval = (env: Record<string, string>): number | null | undefined =>
    openNotifier({ NOTIFY_SOCKET: '/x', ...env })?.watchdogIntervalMs;
  assert.equal(interval({}), null);
  assert.equal(interval({ WATCHDOG_USEC: '30000000' }), 15_000);
  assert.equal(interval({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) }), 15_000);
  assert.equal(interval({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.ppid) }), null);
  assert.equal(interval({ WATCHDOG_USEC: 'soon' }), null);
});
