import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { makeManager } from '../net/manager.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { get } from './get.ts';
import { Program } from './program.ts';

const options = { timeout: 60_000 };
const SERVING = /^Serving 127\.0\.0\.1:(\d+) with pid (\d+)\.$/;

test(
  'a successor that ends before it serves leaves the old process serving, and nothing of itself',
  options,
  async () => {
    await using program = new Program('troubled-server.ts', ['ends']);
    const [, port, pid] = await program.line(SERVING);
    for (let attempt = 0; attempt < 2; attempt++) {
      process.kill(Number(pid), 'SIGUSR2');
      await program.line(/^Before the start$/);
      const [, successor] = await program.line(
        /^Cannot restart: the successor \(pid (\d+)\) ended before it served: exit code 7$/,
      );
      await program.line(/^Hook: the successor .* exit code 7$/);
      assert.throws(() => process.kill(Number(successor), 0), { code: 'ESRCH' });
      assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
    }
    process.kill(Number(pid), 'SIGTERM');
    await program.line(/^Exiting/);
    await program.ended;
  },
);

test('a hook that throws keeps the successor from being started', options, async () => {
  await using program = new Program('troubled-server.ts', ['throws']);
  const [, port, pid] = await program.line(SERVING);
  process.kill(Number(pid), 'SIGUSR2');
  await program.line(/^Cannot restart: cannot start a successor: not now$/);
  assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
});

test('a successor that hangs is killed, and a restart that is asked for meanwhile joins it', options, async () => {
  await using program = new Program('troubled-server.ts', ['hangs']);
  const [, port, pid] = await program.line(SERVING);
  process.kill(Number(pid), 'SIGUSR2');
  const [, successor] = await program.line(/^Hanging with pid (\d+)$/);
  process.kill(Number(pid), 'SIGUSR2');
  assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
  await program.line(
    new RegExp(`^Cannot restart: the successor \\(pid ${successor}\\) did not serve within \\d+ ms and was killed$`),
  );
  assert.throws(() => process.kill(Number(successor), 0), { code: 'ESRCH' });
  assert.equal(program.output.match(/^Before the start$/gm)?.length, 1);
  assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
});

test('a second signal ends the process at once', options, async () => {
  await using program = new Program('troubled-server.ts', ['none']);
  const [, port, pid] = await program.line(SERVING);
  const exited = once(program.first, 'exit');
  const client = net.connect(Number(port), '127.0.0.1');
  client.write('GET /never HTTP/1.1\r\nHost: test\r\n\r\n');
  client.resume().on('error', () => {});
  // Answered after the other request has come.
  assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
  process.kill(Number(pid), 'SIGTERM');
  await untilRefused(Number(port));
  process.kill(Number(pid), 'SIGINT');
  await program.line(/^Closing \d+ connections? that did not end in time\.$/);
  await program.line(/^Exiting/);
  assert.deepEqual(await exited, [0, null]);
});

async function untilRefused(port: number): Promise<void> {
  for (;;) {
    const client = net.connect(port, '127.0.0.1');
    try {
      await once(client, 'connect');
    } catch (error) {
      // One that was waiting to be accepted at that moment is reset.
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return;
    } finally {
      client.destroy();
    }
  }
}

test(
  'the very same sockets serve before and after',
  { ...options, skip: process.platform !== 'linux' && 'Linux only' },
  async () => {
    await using program = new Program('tell-server.ts', []);
    const serving = /^Serving \S+:(\d+), \S+:(\d+) with pid (\d+)\.$/;
    const [, port, , pid] = await program.line(serving);
    const before = listeningSocket(Number(port));
    process.kill(Number(pid), 'SIGUSR2');
    const [, samePort, , newPid] = await program.line(serving);
    await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
    assert.equal(samePort, port);
    assert.equal(listeningSocket(Number(port)), before);
    assert.ok(socketsOf(newPid!).includes(before));
  },
);

test('the file of a Unix socket stays during a restart, and the last process removes it', options, async () => {
  using temp = makeTempDir();
  const socketPath = temp.file('first');
  await using program = new Program('tell-server.ts', [socketPath, temp.file('second')]);
  const [, pid] = await program.line(/^Serving .* with pid (\d+)\.$/);
  process.kill(Number(pid), 'SIGUSR2');
  const [, newPid] = await program.line(/^Serving .* with pid (\d+)\.$/);
  await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
  assert.equal(await get({ socketPath }), newPid);
  assert.deepEqual(fs.readdirSync(temp.path).sort(), ['first', 'second']);
  process.kill(Number(newPid), 'SIGTERM');
  await program.line(new RegExp(`^Exiting pid ${newPid}\\.$`));
  assert.deepEqual(fs.readdirSync(temp.path), []);
});

test(
  'the service manager follows a restart',
  { ...options, skip: process.platform !== 'linux' && 'Linux only' },
  async () => {
    using manager = makeManager(`@grace-restart-${process.pid}`);
    await using program = new Program('tell-server.ts', [], { env: { NOTIFY_SOCKET: manager.address } });
    const [, pid] = await program.line(/^Serving .* with pid (\d+)\.$/);
    process.kill(Number(pid), 'SIGUSR2');
    const [, newPid] = await program.line(/^Serving .* with pid (\d+)\.$/);
    await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
    process.kill(Number(newPid), 'SIGTERM');
    await program.line(new RegExp(`^Exiting pid ${newPid}\\.$`));
    assert.deepEqual(
      manager.messages().map((text) => text.replace(/\nSTATUS=.*/, '').replace(/USEC=\d+/, 'USEC')),
      [
        `READY=1\nMAINPID=${pid}`,
        'RELOADING=1\nMONOTONIC_USEC',
        `READY=1\nMAINPID=${newPid}`, // from the new process
        `READY=1\nMAINPID=${newPid}`, // from the old one, to which alone the manager may listen
        'STOPPING=1',
      ],
    );
  },
);

test(
  'the watchdog is fed as long as the server serves',
  { ...options, skip: process.platform !== 'linux' && 'Linux only' },
  async () => {
    using manager = makeManager(`@grace-watchdog-${process.pid}`);
    await using program = new Program('tell-server.ts', [], {
      env: { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '20000' },
    });
    const [, port] = await program.line(/^Serving \S+:(\d+), .*$/);
    while (!manager.messages().includes('WATCHDOG=1')) await get({ host: '127.0.0.1', port: Number(port) });
  },
);

function listeningSocket(port: number): string {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = fs
    .readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  return lines.find((fields) => fields[1]?.endsWith(suffix) && fields[3] === '0A')![9]!;
}

function socketsOf(pid: string): string[] {
  return fs
    .readdirSync(`/proc/${pid}/fd`)
    .flatMap((fd) => /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []);
}
