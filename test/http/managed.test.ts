/** Restarts under a service manager, which is told of the end of its own children alone. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { isRunning } from '../../src/sys/process.ts';
import { makeManager } from '../net/manager.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { get } from './get.ts';
import { Program } from './program.ts';
import { connect, read } from './serving.ts';

const options = { timeout: 120_000, skip: process.platform !== 'linux' && 'Linux only' };
const SERVING = /^Serving \S+:(\d+).* with pid (\d+)\.$/;

function parentOf(pid: string): string | undefined {
  return /^PPid:\s*(\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
}

test('a successor is no child of its predecessor, even while that has something to finish', options, async () => {
  using temp = makeTempDir();
  using manager = makeManager(temp.file('notify'));
  await using program = new Program('tell-server.ts', [], { env: { NOTIFY_SOCKET: manager.address } });
  const [, port, pid = ''] = await program.line(SERVING);
  const client = await connect(Number(port));
  client.write('GET /wait HTTP/1.1\r\nHost: test\r\n\r\n');
  await read(client, new RegExp(`${pid}\r\n$`));
  process.kill(Number(pid), 'SIGUSR2');
  const [, , successor = ''] = await program.line(SERVING);
  await program.line(/^Graceful handoff/);
  assert.notEqual(parentOf(successor), pid);
  client.destroy();
  await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
  assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), successor);
  process.kill(Number(successor), 'SIGTERM');
  await program.ended;
  const told = manager.messages();
  for (const serving of [pid, successor]) assert.ok(told.some((text) => text.includes(`MAINPID=${serving}\n`)));
});

for (const [trouble, failure] of [
  ['ends', /^Cannot restart: the successor \(pid (\d+)\) ended before it served$/],
  ['hangs', /^Cannot restart: the successor \(pid (\d+)\) did not serve within \d+ ms and was killed$/],
] as const) {
  test(`a successor that ${trouble} leaves the old process serving, and nothing of itself`, options, async () => {
    using temp = makeTempDir();
    using manager = makeManager(temp.file('notify'));
    await using program = new Program('troubled-server.ts', [trouble], { env: { NOTIFY_SOCKET: manager.address } });
    const [, port, pid] = await program.line(SERVING);
    process.kill(Number(pid), 'SIGUSR2');
    const [, successor] = await program.line(failure);
    await program.line(/^Hook/);
    assert.equal(isRunning(Number(successor)), false);
    assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
    assert.match(manager.messages().at(-1) ?? '', /^READY=1/);
    process.kill(Number(pid), 'SIGTERM');
    await program.ended;
  });
}

test('told to stop while a successor starts, both end', options, async () => {
  using temp = makeTempDir();
  using manager = makeManager(temp.file('notify'));
  await using program = new Program('troubled-server.ts', ['hangs'], { env: { NOTIFY_SOCKET: manager.address } });
  const [, , pid] = await program.line(SERVING);
  process.kill(Number(pid), 'SIGUSR2');
  await program.line(/^Hanging with pid/);
  process.kill(Number(pid), 'SIGTERM');
  await program.ended;
});
