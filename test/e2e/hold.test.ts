import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { ConnectingClients } from './connecting-clients.ts';
import { isRunning, makeGrace, ownLoopback, program } from './grace.ts';
import { freePort } from './listening-socket.ts';
import type { Grace } from './grace.ts';
import { pemFiles, stays } from './pem-files.ts';

const timeout = 240_000;
const src = 'tcp:0:interface=127.0.0.1';

/** A server in a process of its own, as a program that a deploy restarts: it greets and ends; SIGTERM ends it at once. */
const greeter = `
  const { createServer } = require('node:net');
  const server = createServer((socket) => { socket.on('error', () => {}); socket.end('hello\\n'); });
  // The one before was killed, and where there is much to do the kernel takes a while to close its listener.
  server.on('error', () => setTimeout(listen, 20));
  function listen() {
    server.listen(Number(process.argv[2]), process.argv[3]);
  }
  listen();
`;

/** A shell script that is the init system of such a server. */
function restartScript(dir: string, port: number): string {
  const [program, script] = [join(dir, 'greeter.cjs'), join(dir, 'restart.sh')];
  writeFileSync(program, greeter);
  writeFileSync(
    script,
    `#!/bin/sh
if [ -f ${dir}/server.pid ]; then kill -9 "$(cat ${dir}/server.pid)"; fi
"$@"
'${process.execPath}' ${program} ${port} ${ownLoopback} </dev/null >/dev/null 2>&1 &
echo $! > ${dir}/server.pid
`,
  );
  chmodSync(script, 0o755);
  return script;
}

/** A server that a script restarts, and the end of it with the test. */
async function startServer(t: TestContext): Promise<{ port: number; script: string }> {
  const port = await freePort();
  // Not in the directory of a daemon, which is removed first.
  const dir = mkdtempSync(join(tmpdir(), 'grace-server-'));
  t.after(() => {
    const file = join(dir, 'server.pid');
    if (existsSync(file)) process.kill(Number(readFileSync(file, 'utf8')), 'SIGKILL');
    rmSync(dir, { recursive: true });
  });
  return { port, script: restartScript(dir, port) };
}

async function waiting(grace: Grace, count: number): Promise<void> {
  await until(
    `${count} wait`,
    async () => (await grace.ls()).reduce((sum, row) => sum + (row.waiting ?? 0), 0) === count,
  );
}

/** TLS clients one after the other; each wants a greeting. */
class TlsClients {
  served = 0;
  failed = 0;
  readonly #counted = new EventEmitter();
  #isOver = false;
  readonly #loops: Promise<void>[];

  constructor(port: number, ca: string) {
    const loop = async () => {
      while (!this.#isOver) {
        const text = await new Promise<string>((resolve) => {
          let heard = '';
          const socket = connectTls({ port, host: '127.0.0.1', servername: 'www.example.com', ca });
          socket.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
          socket.on('error', () => {});
          socket.on('close', () => resolve(heard));
        });
        if (text === 'hello\n') this.served++;
        else this.failed++;
        this.#counted.emit('count');
      }
    };
    this.#loops = [loop(), loop()];
  }

  async more(count: number): Promise<void> {
    const goal = this.served + count;
    while (this.served < goal && this.failed === 0) await once(this.#counted, 'count');
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }
}

/** A command line that is grace itself, with the same daemon. */
function graceLine({ dir }: Grace, ...args: string[]): string[] {
  return [...program, '-d', dir, ...args];
}

type SecureRule = { secure: string; ca: string };

function secureSource(t: TestContext): SecureRule {
  const pem = pemFiles(t);
  return {
    secure: `ssl:0:privateKey=${pem.key}:certKey=${pem.fullChain}:interface=127.0.0.1`,
    ca: readFileSync(pem.root, 'utf8'),
  };
}

test(
  'a server is restarted behind grace, and neither plain nor TLS clients get an error, through a restart of grace too',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const { secure, ca } = secureSource(t);
    const { port, script } = await startServer(t);
    await grace.ok('start', '--name', 'plain', src, `tcp:${ownLoopback}:${port}`);
    await grace.ok('start', '--name', 'secure', secure, `tcp:${ownLoopback}:${port}`);
    // Before its first start the server is not there either.
    assert.equal((await grace.run('hold', 'plain', '--', script)).code, 0);
    const clients = new ConnectingClients(await grace.port(src));
    const tlsClients = new TlsClients(await grace.port(secure), ca);
    await Promise.all([clients.served(20), tlsClients.more(5)]);
    const restart = graceLine(grace, 'restart', '--timeout', '100s');
    for (const meanwhile of [[], restart, []]) {
      const both = [
        'hold',
        'plain',
        '--drain',
        '60s',
        '--',
        ...graceLine(grace, 'hold', 'secure', '--drain', '60s', '--', script, ...meanwhile),
      ];
      const { code, stderr } = await grace.run(...both);
      assert.deepEqual([code, stderr], [0, '']);
      await Promise.all([clients.served(20), tlsClients.more(5)]);
    }
    await Promise.all([clients.stop(), tlsClients.stop()]);
    assert.deepEqual([clients.tally.refused, clients.tally.cut, tlsClients.failed], [0, 0, 0]);
    assert.ok((await grace.ls()).every(({ held }) => held === undefined));
  },
);

test('a held rule says so, hold after hold, until it is released', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const before = await openClient(t, { port });
  assert.equal(await before.line(), 'A');
  // It goes on, and would end with its server.
  const first = await grace.run('hold', src, '--drain', '50ms');
  assert.equal(first.stdout, 'Held\n');
  assert.match(first.stderr, /^note: 1 connection of .* is open still/);
  assert.equal(await before.echo('still here'), 'still here');
  await before.end();
  const client = await openClient(t, { port });
  await waiting(grace, 1);
  assert.match(await grace.ok('ls'), / held, 1 waiting\n$/);
  assert.match(await grace.ok('metrics'), /^grace_connections_waiting\{src="[^"]*"\} 1$/m);
  const [row] = await grace.ls();
  assert.deepEqual([row?.held, row?.waiting, row?.active, row?.connections], [true, 1, true, 1]);
  assert.match(await grace.ok('status'), /\nheld +tcp:0:interface=127\.0\.0\.1, 1 waiting, for /);
  assert.deepEqual(
    (await grace.status()).held?.map((each) => [each.src, each.waiting]),
    [[src, 1]],
  );
  assert.equal(await grace.ok('hold', src), 'Held\n');
  assert.equal(a.connections.size, 0);
  assert.equal(await grace.ok('release', src), 'Released 1 client\n');
  assert.equal(await client.line(), 'A');
  const again = await grace.run('release', src);
  assert.deepEqual([again.code, again.stderr.startsWith(`grace: ${src} is not held\n`)], [1, true]);
  assert.equal((await grace.run('hold', 'tcp:1')).code, 4);
  assert.equal((await grace.ls())[0]?.held, undefined);
  assert.match(grace.log(), /rule held[^]*rule released/);
});

test(
  'those that wait go through a restart, plain ones with their sockets, TLS ones in the old process',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const { secure, ca } = secureSource(t);
    const [a, b] = [await startBackend(t, 'A'), await startBackend(t, 'B')];
    await grace.ok('start', src, a.endpoint);
    await grace.ok('start', secure, a.endpoint);
    const [port, securePort] = [await grace.port(src), await grace.port(secure)];
    await grace.ok('hold', src);
    await grace.ok('hold', secure);
    const plain = await openClient(t, { port });
    const tls = connectTls({ port: securePort, host: '127.0.0.1', servername: 'www.example.com', ca });
    t.after(() => void tls.destroy());
    await once(tls, 'secureConnect');
    await waiting(grace, 2);
    await grace.ok('restart');
    await waiting(grace, 2);
    // Where a rule leads by then is where they go, whichever process they wait in.
    await grace.ok('switch', src, b.endpoint, '--wait', '--timeout', '60s');
    await grace.ok('switch', secure, b.endpoint, '--wait', '--timeout', '60s');
    await grace.ok('restart');
    await waiting(grace, 2);
    assert.equal(await grace.ok('release', src), 'Released 1 client\n');
    assert.equal(await grace.ok('release', secure), 'Released 1 client\n');
    assert.equal(await plain.line(), 'B');
    const [text] = (await once(tls, 'data')) as [Buffer];
    assert.equal(text.toString(), 'B\n');
    assert.equal(a.connections.size, 0);
  },
);

test('a hold ends with the client that runs its command, however that ends', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  for (const signal of ['SIGKILL', 'SIGINT', 'SIGTERM'] as const) {
    const pidFile = join(grace.dir, `sleep-${signal}`);
    const held = grace.spawn(
      'hold',
      src,
      '--',
      'sh',
      '-c',
      `echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 1000`,
    );
    await until('it runs', () => existsSync(pidFile));
    const pid = Number(readFileSync(pidFile, 'utf8'));
    t.after(() => void (isRunning(pid) && process.kill(pid, 'SIGKILL')));
    const client = await openClient(t, { port });
    await waiting(grace, 1);
    // A restart in between makes no difference.
    if (signal !== 'SIGTERM') await grace.ok('restart');
    held.child.kill(signal);
    assert.equal(await client.line(), 'A');
    if (signal === 'SIGKILL') {
      process.kill(pid, 'SIGKILL'); // nobody else ends it, and it has the pipes of its parent
      await held.ended;
      continue;
    }
    const { code } = await held.ended;
    assert.equal(code, signal === 'SIGINT' ? 130 : 143);
    assert.equal(isRunning(pid), false);
  }
});

test(
  'the command has the environment, its exit code is the command’s, and one that cannot run holds nothing',
  { timeout },
  async (t) => {
    const grace = makeGrace(t, { NODE_ENV: 'production', OTHER: 'x' });
    const a = await startBackend(t, 'A');
    await grace.ok('start', src, a.endpoint);
    const told = await grace.run(
      'hold',
      src,
      '--',
      'sh',
      '-c',
      'echo "$NODE_ENV $OTHER"; echo "$1" >&2; exit 7',
      '-',
      '--help',
    );
    assert.deepEqual([told.code, told.stdout, told.stderr], [7, 'production x\n', '--help\n']);
    assert.equal((await grace.run('hold', src, '--', 'sh', '-c', 'kill -TERM $$')).code, 143);
    const missing = await grace.run('hold', src, '--', 'there-is-no-such-program');
    assert.deepEqual([missing.code, missing.stderr], [127, 'grace: cannot run there-is-no-such-program: not found\n']);
    assert.equal((await grace.run('hold', src, '--', grace.dir)).code, 126);
    const empty = await grace.run('hold', src, '--', '');
    assert.deepEqual([empty.code, empty.stderr], [127, 'grace: cannot run "": not found\n']);
    assert.match((await grace.run('hold', '--', 'true')).stderr, /^grace: hold needs SRC\n/);
    for (const line of [['--'], ['ls'], ['--max-waiting', '0'], ['--timeout', '5s'], ['--max-time', 'soon']])
      assert.equal((await grace.run('hold', src, ...line)).code, 2, line.join(' '));
    assert.equal((await grace.ls())[0]?.held, undefined);
  },
);

test(
  'a destination that does not come back: clients are let go to fail when the time is up, or at once',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    await grace.ok('start', src, `tcp:${ownLoopback}:1`);
    const port = await grace.port(src);
    const fails = async (...line: string[]) => {
      const client = connect({ port, host: '127.0.0.1' });
      client.on('error', () => {}); // it is reset
      await waiting(grace, 1);
      const outcome = grace.run(...line);
      await new Promise<void>((resolve) => client.once('close', () => resolve()));
      return await outcome;
    };
    await grace.ok('hold', src);
    const now = await fails('release', src, '--now');
    assert.deepEqual([now.code, now.stdout, now.stderr], [0, 'Released 1 client\n', '']);
    await grace.ok('hold', src);
    const late = await fails('release', src, '--timeout', '100ms');
    assert.equal(late.code, 0);
    assert.match(late.stderr, /^note: let go all the same: tcp:\S+ does not accept: /);
    await grace.ok('hold', src);
    const command = await fails(
      'hold',
      src,
      '--timeout',
      '100ms',
      '--',
      'sh',
      '-c',
      `${graceLine(grace, 'release', src, '--now').join(' ')}; exit 3`,
    );
    assert.equal(command.code, 3);
  },
);

test(
  'a hold has its limits: how many wait, the others in the queue of the listener, and how long',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    await grace.ok('start', src, a.endpoint);
    const port = await grace.port(src);
    await grace.ok('hold', src, '--max-waiting', '2');
    const clients = [];
    for (let index = 0; index < 6; index++) clients.push(await openClient(t, { port }));
    await until('two or three wait', async () => ((await grace.ls())[0]?.waiting ?? 0) >= 2);
    const { waiting: most = 0 } = (await grace.ls())[0] ?? {};
    assert.ok(most < 6, `${most} wait`);
    assert.match(grace.log(), /as many clients of a held rule wait as may/);
    await grace.ok('release', src);
    for (const client of clients) assert.equal(await client.line(), 'A');
    // Longer than the test takes, had it no limit.
    await grace.ok('hold', src, '--drain', '0', '--max-time', '300ms');
    const last = await openClient(t, { port });
    assert.equal(await last.line(), 'A');
    assert.match(grace.log(), /its time is up/);
  },
);

test(
  'a held rule that is stopped lets those that wait go on first; the daemon does the same',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    for (const stop of [['stop', src], ['stop']]) {
      await grace.ok('start', src, a.endpoint);
      const port = await grace.port(src);
      await grace.ok('hold', src);
      const client = await openClient(t, { port });
      await waiting(grace, 1);
      const stopped = grace.run(...stop, '--timeout', '60s');
      assert.equal(await client.line(), 'A');
      await client.end();
      assert.equal((await stopped).code, 0);
    }
  },
);

test('a crash lets everybody go, also those that wait in an older process', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { secure: plain, ca } = secureSource(t);
  const secure = `${plain}${stays}`;
  const a = await startBackend(t, 'A');
  await grace.ok('start', secure, a.endpoint);
  const port = await grace.port(secure);
  await grace.ok('hold', secure);
  const client = connectTls({ port, host: '127.0.0.1', servername: 'www.example.com', ca });
  t.after(() => void client.destroy());
  await once(client, 'secureConnect');
  await waiting(grace, 1);
  await grace.ok('restart');
  process.kill((await grace.status()).pid, 'SIGKILL');
  const [text] = (await once(client, 'data')) as [Buffer];
  assert.equal(text.toString(), 'A\n');
  assert.ok((await grace.ls()).every(({ held }) => held === undefined));
});

test('with retry=, a server is restarted unannounced, and everybody is connected', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const port = await freePort();
  await grace.ok('start', src, `tcp:${ownLoopback}:${port}:retry=60s`);
  const clients = new ConnectingClients(await grace.port(src));
  const serve = () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.resume().end('hello\n');
    });
    return server.listen(port, ownLoopback);
  };
  for (let round = 0; round < 3; round++) {
    const server = serve();
    await clients.served(30);
    server.close();
    await once(server, 'close');
  }
  const last = serve();
  t.after(() => void last.close());
  await clients.served(30);
  const { refused, cut } = await clients.stop();
  const metrics = (await grace.ok('metrics')).split('\n').filter((line) => !/^#| 0$/.test(line));
  // Who was in the queue of the server when it closed that was connected, and no dial brings that back.
  const ends = metrics.filter((line) => line.startsWith('grace_connection_ends_total') && !line.includes('"finished"'));
  assert.ok(
    ends.every((line) => line.includes('"upstream-reset"')),
    ends.join('\n'),
  );
  assert.deepEqual(
    metrics.filter((line) => line.startsWith('grace_dial_failures_total')),
    [],
  );
  // A reset may come before the client has noticed that it was connected.
  assert.ok(refused + cut <= 12, `${refused + cut} of 4 clients in 3 rounds`);
});
