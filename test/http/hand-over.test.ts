import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { findRestartObstacle } from '../../src/http/restart-obstacle.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { until } from '../until.ts';
import { get } from './get.ts';
import { Program, runFile } from './program.ts';

const options = { timeout: 60_000 };
const onLinux = { ...options, skip: process.platform !== 'linux' && 'Linux only' };
const SERVING = /^Serving 127\.0\.0\.1:(\d+) with pid (\d+)\.$/;

async function isRefused(port: number): Promise<boolean> {
  const client = net.connect(port, '127.0.0.1').on('error', () => {});
  try {
    await once(client, 'connect');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
  } finally {
    client.destroy();
  }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(
    `told to stop by ${signal} while a successor starts, the service stops, the successor included`,
    options,
    async () => {
      await using program = new Program('troubled-server.ts', ['hangs']);
      const [, port, pid] = await program.line(SERVING);
      const exited = once(program.first, 'exit');
      process.kill(Number(pid), 'SIGUSR2');
      const [, successor] = await program.line(/^Hanging with pid (\d+)$/);
      process.kill(Number(pid), signal);
      await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
      await program.ended; // of every process that holds the output
      assert.deepEqual(await exited, [0, null]);
      assert.throws(() => process.kill(Number(successor), 0), { code: 'ESRCH' });
      assert.ok(await isRefused(Number(port)));
      assert.doesNotMatch(program.output, /Cannot restart|did not end in time/);
    },
  );
}

test('told to stop before the hook has returned, no successor is started', options, async () => {
  await using program = new Program('troubled-server.ts', ['waits']);
  const [, , pid] = await program.line(SERVING);
  process.kill(Number(pid), 'SIGUSR2');
  await program.line(/^Before the start$/);
  process.kill(Number(pid), 'SIGTERM');
  await program.line(/^After the wait$/);
  await program.ended;
  assert.equal(program.output.match(/^Serving/gm)?.length, 1);
});

test('a successor that is told to stop before it serves does not take over', options, async () => {
  await using program = new Program('troubled-server.ts', ['is-stopped']);
  const [, port, pid] = await program.line(SERVING);
  process.kill(Number(pid), 'SIGUSR2');
  await program.line(/^Cannot restart: the successor \(pid \d+\) ended before it served: exit code 0$/);
  assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), pid);
});

test('one signal more to a process that has handed over does not cut off what it finishes', options, async () => {
  await using program = new Program('tell-server.ts', []);
  const [, port, , pid] = await program.line(/^Serving \S+:(\d+), \S+:(\d+) with pid (\d+)\.$/);
  // A request under way: /stream tells that it has begun.
  const client = net.connect(Number(port), '127.0.0.1').setEncoding('utf8');
  client.write('GET /wait HTTP/1.1\r\nHost: test\r\n\r\n');
  await once(client, 'data');
  process.kill(Number(pid), 'SIGUSR2');
  const [, , , newPid] = await program.line(/^Serving \S+:(\d+), \S+:(\d+) with pid (\d+)\.$/);
  await program.line(/^Graceful handoff/);
  await until(
    'the old process no longer takes clients',
    async () => (await get({ host: '127.0.0.1', port: Number(port) })) === newPid,
  );
  // As `systemctl stop` does, to every process of the service.
  process.kill(Number(pid), 'SIGTERM');
  let rest = '';
  client.on('data', (chunk: string) => (rest += chunk));
  process.kill(Number(newPid), 'SIGTERM');
  await program.line(new RegExp(`^Exiting pid ${newPid}\\.$`));
  client.write('GET /go HTTP/1.1\r\nHost: test\r\n\r\n');
  await once(client, 'end');
  assert.match(rest, new RegExp(`${pid}`));
  await program.ended;
  assert.doesNotMatch(program.output, /did not end in time/);
});

test(
  'the file of an inherited Unix socket that the new version does not use is removed, and that of a stopped server',
  options,
  async () => {
    using temp = makeTempDir();
    const socketPath = temp.file('kept');
    await using program = new Program('mixed-server.ts', [socketPath], { env: { OTHERS: temp.file('dropped') } });
    const [, pid] = await program.line(/^Serving .* with pid (\d+)\.$/);
    assert.deepEqual(fs.readdirSync(temp.path).sort(), ['dropped', 'kept']);
    process.kill(Number(pid), 'SIGUSR2');
    await program.line(
      new RegExp(`^Closed the inherited socket ${temp.file('dropped')}: no server has that address\\.$`),
    );
    const [, newPid] = await program.line(/^Serving .* with pid (\d+)\.$/);
    await program.line(new RegExp(`^Exiting pid ${pid}\\.$`));
    assert.deepEqual(fs.readdirSync(temp.path), ['kept']);
    assert.equal(await get({ socketPath }), newPid);
    process.kill(Number(newPid), 'SIGTERM');
    await program.ended;
    assert.deepEqual(fs.readdirSync(temp.path), []);
  },
);

const namespaces = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']);
const canUnshare = namespaces.error === undefined && namespaces.status === 0;

test(
  'as process 1 of a container it refuses to restart, and says what to do',
  { ...onLinux, skip: !canUnshare && 'no namespaces here' },
  async () => {
    const [runtime, args] = runFile('tell-server.ts');
    await using program = new Program('tell-server.ts', [], {
      command: ['unshare', ['--pid', '--fork', '--mount-proc', '--kill-child', runtime, ...args]],
    });
    const [, port] = await program.line(/^Serving \S+:(\d+), \S+ with pid 1\.$/);
    const [outside] = fs
      .readFileSync(`/proc/${program.first.pid}/task/${program.first.pid}/children`, 'utf8')
      .trim()
      .split(' ');
    process.kill(Number(outside), 'SIGUSR2');
    await program.line(
      /^Cannot restart: this process is process 1 of a container, which ends with it: start a new container, or let `grace daemon` /,
    );
    assert.equal(await get({ host: '127.0.0.1', port: Number(port) }), '1');
    process.kill(Number(outside), 'SIGTERM');
    await program.ended;
  },
);

const tini = spawnSync('tini', ['--version']).error === undefined;

test(
  "as the child of a container's init, which ends with it, it refuses too",
  { ...onLinux, skip: !(canUnshare && tini) && 'no namespaces, or tini is not installed' },
  async () => {
    const [runtime, args] = runFile('tell-server.ts');
    await using program = new Program('tell-server.ts', [], {
      command: ['unshare', ['--pid', '--fork', '--mount-proc', '--kill-child', 'tini', '--', runtime, ...args]],
    });
    await program.line(/^Serving .* with pid 2\.$/);
    const childOf = (pid: number): number =>
      Number.parseInt(fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), 10);
    const server = childOf(childOf(program.first.pid!));
    process.kill(server, 'SIGUSR2');
    await program.line(/^Cannot restart: this process is all that process 1 \(tini\) of a container waits for, /);
    process.kill(server, 'SIGTERM');
    await program.ended;
  },
);

test(
  'as the script of npm, which is process 1 of a container, it refuses too',
  { ...onLinux, skip: !canUnshare && 'no namespaces here' },
  async () => {
    using temp = makeTempDir();
    const [runtime, args] = runFile('tell-server.ts');
    fs.writeFileSync(temp.file('package.json'), JSON.stringify({ scripts: { start: [runtime, ...args].join(' ') } }));
    await using program = new Program('tell-server.ts', [], {
      command: [
        'unshare',
        ['--pid', '--fork', '--mount-proc', '--kill-child', 'npm', '--prefix', temp.path, 'start', '--'],
      ],
    });
    await program.line(/^Serving .* with pid \d+\.$/);
    let server = program.first.pid!;
    const childrenOf = (pid: number): string => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    while (childrenOf(server) !== '') server = Number.parseInt(childrenOf(server), 10);
    process.kill(server, 'SIGUSR2');
    await program.line(/^Cannot restart: this process is all that process 1 \(npm.*\) of a container waits for, /);
    process.kill(server, 'SIGTERM');
    await program.ended;
  },
);

test('what is no container does not keep from restarting', onLinux, () => {
  assert.equal(findRestartObstacle(), null);
  assert.match(findRestartObstacle({ pid: 1, ppid: 0 })?.message ?? '', /process 1 of a container/);
  assert.equal(findRestartObstacle({ pid: 7, ppid: process.pid }), null);
});
