import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, program, runtime } from './grace.ts';
import { inject } from './inject.ts';
import { until } from '../until.ts';
import { descriptorsOf, processesOf } from './processes.ts';

const timeout = 180_000;
const skip = runtime !== 'executable' || process.platform !== 'linux';
const src = 'tcp:0:interface=127.0.0.1';
const unix = (dir: string) => `unix:${dir}.sock`;

/** Run a command of grace with a limit of open descriptors. */
function limited(limit: number, ...args: string[]) {
  const { status, signal, stdout, stderr } = spawnSync(
    'bash',
    ['-c', `ulimit -n ${limit}; exec "$@"`, 'bash', ...program, ...args],
    { encoding: 'utf8', timeout: 60_000 },
  );
  return { status, signal, stdout, stderr };
}

for (const limit of [21, 24, 28, 36, 48]) {
  test(`with ${limit} descriptors a command serves or says in a line what is wrong`, { timeout, skip }, async (t) => {
    const grace = makeGrace(t);
    for (const args of [['start', src, 'tcp:127.0.0.1:9'], ['restart']]) {
      const { status, signal, stderr } = limited(limit, '-d', grace.dir, ...args);
      assert.equal(signal, null, `${args.join(' ')}: ${stderr}`);
      assert.ok(status !== null && status <= 3, `${args.join(' ')} exited with ${status}: ${stderr}`);
      if (status !== 0) assert.match(stderr, /^(note: .*\n)*grace: [^\n]+\n(hint: [^\n]+\n)?$/, args.join(' '));
      assert.doesNotMatch(stderr, /mistake in grace|Cannot read|\n +at /);
    }
  });
}

test(
  'clients that stall over a download leave descriptors to other rules, to commands and to the daemon',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const chunk = Buffer.alloc(256 * 1024, 'd');
    const sources = new Set<Socket>();
    const server = createServer((socket) => {
      sources.add(socket);
      socket.on('error', () => {}).on('close', () => sources.delete(socket));
      const pour = () => {
        while (socket.write(chunk));
      };
      socket.on('drain', pour);
      pour();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const clients: Socket[] = [];
    t.after(() => {
      for (const socket of [...clients, ...sources]) socket.destroy();
      server.close();
    });
    const backend = await startBackend(t, 'other');
    const started = limited(
      512,
      '-d',
      grace.dir,
      'start',
      src,
      `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`,
    );
    assert.equal(started.status, 0, started.stderr);
    await grace.ok('start', unix(grace.dir), backend.endpoint);
    const { pid } = await grace.status();
    const port = await grace.port(src);
    for (let count = 0; count < 260; count++) {
      const client = connect({ port, host: '127.0.0.1' });
      client.on('error', () => {});
      client.pause();
      clients.push(client);
    }
    const row = async () => (await grace.ls()).find((each) => each.src === src)!;
    await until('what there is room for is served', async () => (await row()).connections >= 180);
    let before = -1;
    await until('all have stalled', async () => {
      const { bytesOut } = await row();
      const isSame = bytesOut === before;
      before = bytesOut;
      if (!isSame) await new Promise((resolve) => setTimeout(resolve, 200)); // that nothing moves, only time can tell
      return isSame;
    });
    const other = await openClient(t, { path: `${grace.dir}.sock` });
    assert.equal(await other.line(), 'other');
    assert.equal(await other.echo('still there'), 'still there');
    assert.equal((await grace.status()).pid, pid);
    const received = clients.map(() => 0);
    clients.forEach((client, index) => client.on('data', (data) => (received[index]! += data.length)).resume());
    await until('all that were served go on', () => received.filter((bytes) => bytes > 2_000_000).length >= 180);
    assert.equal((await grace.status()).pid, pid);
  },
);

test(
  'while the system has no descriptor for clients of the control socket, a command says so within seconds and nothing else happens',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    await grace.ok('start', src, backend.endpoint);
    const client = await openClient(t, { port: await grace.port(src), host: '127.0.0.1' });
    assert.equal(await client.line(), 'backend');
    const { pid } = await grace.status();
    // The runtime meets this by accepting and closing, so every other call must succeed.
    const detach = await inject(t, pid, 'accept4,accept', 'ENFILE:when=1+3', { isMainAlone: true });
    if (!detach) return t.skip('strace may not attach here');
    const began = performance.now();
    const { code, stderr } = await grace.run('ls');
    assert.ok(performance.now() - began < 12_000);
    if (code !== 0) {
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^grace: the daemon in .* does not answer: it closes every connection without a word\nhint: [^\n]+descriptors[^\n]+\n$/,
      );
    }
    t.diagnostic(`ls exited with ${code} after ${Math.round(performance.now() - began)} ms`);
    assert.equal(await client.echo('not disturbed'), 'not disturbed');
    await detach();
    assert.equal((await grace.ls())[0]!.connections, 1);
    assert.equal((await grace.status()).pid, pid);
  },
);

for (const engine of ['native', 'portable'] as const) {
  test(
    `${engine}: clients wait and commands work under a limit that was lowered meanwhile, until it is raised again`,
    { timeout, skip: skip || (spawnSync('prlimit', ['-V']).error !== undefined && 'there is no prlimit') },
    async (t) => {
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'backend');
      if (engine === 'portable') {
        grace.spawn('daemon', '--engine', engine);
        await until('the daemon runs', async () => (await grace.run('status')).code === 0);
      }
      await grace.ok('start', src, backend.endpoint);
      const port = await grace.port(src);
      let [served, lost] = [0, 0];
      const open = () => {
        const client = connect({ port, host: '127.0.0.1' });
        t.after(() => client.destroy());
        client.once('data', () => served++);
        client.on('error', () => {}).once('close', () => lost++);
      };
      for (let count = 0; count < 5; count++) open();
      await until('the first are served', () => served === 5);
      const { pid } = await grace.status();
      const [, before = ''] = /^Max open files +([0-9]+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
      const limit = descriptorsOf(pid).size + 40;
      const setLimit = (soft: string) => {
        const { status, stderr } = spawnSync('prlimit', ['--pid', `${pid}`, `--nofile=${soft}:`], { encoding: 'utf8' });
        assert.equal(status, 0, stderr);
      };
      setLimit(`${limit}`);
      await grace.ok('status');
      for (let count = 0; count < 60; count++) open();
      await until('some are served, or lost', () => served > 14 || lost > 0);
      for (const command of ['ls', 'status', 'metrics']) await grace.ok(command);
      assert.ok(descriptorsOf(pid).size <= limit);
      assert.equal(lost, 0);
      setLimit(before);
      await until('all are served', () => served === 65 || lost > 0);
      assert.equal(lost, 0);
    },
  );
}

const shortages = [
  'socket:EMFILE',
  'socketpair:EMFILE',
  'pipe2:EMFILE',
  'fcntl:EMFILE',
  'openat:EMFILE',
  'openat:ENFILE',
  'memfd_create:EMFILE',
  'epoll_create1:EMFILE',
  'eventfd2:EMFILE',
  'clone,clone3,vfork:EAGAIN',
];

for (const who of ['daemon', 'keeper'] as const) {
  test(
    `whatever ${who} is short of, a command works or says in a line what is wrong, and clients are served`,
    { timeout: 2 * timeout, skip },
    async (t) => {
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'backend');
      await grace.ok('start', src, backend.endpoint);
      const client = await openClient(t, { port: await grace.port(src), host: '127.0.0.1' });
      assert.equal(await client.line(), 'backend');
      for (const [index, shortage] of shortages.entries()) {
        const [calls, error] = shortage.split(':') as [string, string];
        // One that was short of what the channel to the new daemon takes is back in a moment.
        await until('there is a keeper', async () => (await grace.status()).keeper !== null);
        const { pid, keeper, generations } = await grace.status();
        const pids = new Set([pid, keeper!.pid, ...generations.map((each) => each.pid)]);
        await until('one daemon is there, beside those that finish', () =>
          processesOf(grace.dir).every((each) => each.state === 'Z' || pids.has(each.pid)),
        );
        const detach = await inject(t, who === 'keeper' ? keeper!.pid : pid, calls, error);
        if (!detach) return t.skip('strace may not attach here');
        const outcomes = [];
        for (const args of [
          ['start', unix(`${grace.dir}${index}`), backend.endpoint],
          ['ls'],
          ['restart', '--timeout', '20s'],
        ]) {
          const { code, stderr } = await grace.run(...args);
          assert.ok(code === 0 || code === 1, `${shortage} ${args[0]}: ${code} ${stderr}`);
          if (code !== 0)
            assert.match(stderr, /^(note: .*\n)*grace: [^\n]+\n(hint: [^\n]+\n)?$/, `${shortage} ${args[0]}`);
          assert.doesNotMatch(stderr, /did not come up|0x[0-9a-f]{6}|\n +at /, `${shortage} ${args[0]}`);
          outcomes.push(code === 0 ? `${args[0]} works` : stderr.split('\n')[0]);
        }
        await detach();
        t.diagnostic(`${shortage}: ${outcomes.join('; ')}`);
        assert.equal(await client.echo(shortage), shortage);
        const other = await openClient(t, { port: await grace.port(src), host: '127.0.0.1' });
        assert.equal(await other.line(), 'backend');
      }
      await grace.ok('restart');
      assert.equal(await client.echo('still'), 'still');
      assert.doesNotMatch(grace.log(), /internal error/);
    },
  );
}
