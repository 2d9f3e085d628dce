/**
 * `npm start`: builds dist/grace and shows what it does, with two backends of its own, in a state dir
 * of its own. Each command that is printed is one that was run, with the output that it had. Ends
 * with an error when anything comes out wrong, and leaves nothing behind; `npm start -- --keep`
 * leaves daemon and backends running.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from './build.ts';

type Stage = {
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
  /** Directory of the executable, first on the PATH of what is run. */
  bin: string;
  /** State dir. */
  dir: string;
  isKept: boolean;
  cleanUp: AsyncDisposableStack;
};

type Backend = { name: string; port: number; pid: number };

/** Longest that anything here takes on a slow machine. */
const stepTimeoutMs = 30_000;

async function main(): Promise<void> {
  const interruption = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.once(name, () => interruption.abort(new Error('interrupted')));
  try {
    await show({ signal: interruption.signal, isKept: process.argv.includes('--keep') });
  } catch (error) {
    console.error(interruption.signal.aborted ? 'interrupted' : error);
    process.exitCode = interruption.signal.aborted ? 130 : 1;
  }
}

async function show({ signal, isKept }: Pick<Stage, 'signal' | 'isKept'>): Promise<void> {
  say('Building the executable ...');
  const executable = await build();
  say(`dist/grace is built: one file, ${Math.round((await stat(executable)).size / 1e6)} MB, that needs nothing else.`);
  signal.throwIfAborted();

  await using cleanUp = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'grace-start-'));
  cleanUp.defer(() => rm(dir, { recursive: true, force: true }));
  const stage: Stage = { signal, bin: dirname(executable), dir, isKept, cleanUp };

  say('Two backends of this demonstration, and a place for grace to keep its state:');
  const blue = await startBackend(stage, { name: 'blue', port: 9001 });
  const green = await startBackend(stage, { name: 'green', port: 9002 });
  for (const { name, port, pid } of [blue, green]) print(`  ${name} on 127.0.0.1:${port} (pid ${pid})`);
  print('');
  print(`$ export PATH=${stage.bin}:$PATH GRACE_DIR=${dir}`);

  const port = await choosePort(8080);
  const source = `tcp:${port}:interface=127.0.0.1`;
  cleanUp.defer(() => endDaemon(stage));
  await forward(stage, { source, port, blue });
  await switchOver(stage, { source, port, blue, green });
  await restartUnderway(stage, { port, green });
  if (isKept) return leaveRunning(stage, { cleanUp, port, backends: [blue, green] });
  await stopAll(stage, { port });
  say('That was it. Everything that was started here has ended, and the state dir is removed.');
}

async function forward(
  stage: Stage,
  { source, port, blue }: { source: string; port: number; blue: Backend },
): Promise<void> {
  say('Forward a port to blue. The daemon is started in the background, since none runs yet.');
  assert.equal(await grace(stage, ['start', source, `tcp:127.0.0.1:${blue.port}`]), 'Started\n');
  assert.equal(await request(stage, { port, path: '/' }), 'hello from blue\n');
}

async function switchOver(
  stage: Stage,
  { source, port, blue, green }: { source: string; port: number; blue: Backend; green: Backend },
): Promise<void> {
  say('Open a download, which blue sends in two halves, and switch to green while it is open.');
  const download = await openDownload(stage, port);
  assert.equal(await grace(stage, ['switch', source, `tcp:127.0.0.1:${green.port}`]), 'Switched\n');
  assert.equal(await request(stage, { port, path: '/' }), 'hello from green\n');
  say('New connections go to green. The download stays with blue, and is counted:');
  const list = await grace(stage, ['ls']);
  assert.match(list, new RegExp(`:${green.port} +[0-9]+ +active\n`));
  assert.match(list, new RegExp(`:${blue.port} +1 +inactive\n`));

  say('Wait until nothing is left on blue. It is still needed, so this waits, until blue sends the second half.');
  let isWaiting = true;
  const waiting = grace(stage, ['wait']).finally(() => (isWaiting = false));
  waiting.catch(() => {}); // should this function fail before it comes to await it
  await delay(500, undefined, { signal: stage.signal }); // for who watches; it would wait for hours as well
  assert.ok(isWaiting, 'grace wait returned while a connection was open');
  await request(stage, { port: blue.port, path: '/finish', isQuiet: true });
  assert.equal(await download.rest(), 'second half from blue\n');
  await waiting;
  print('(returned: blue can be taken down)');
}

async function restartUnderway(stage: Stage, { port, green }: { port: number; green: Backend }): Promise<void> {
  say('Replace the daemon by a new process of the executable on disk, while a download from green is open.');
  const download = await openDownload(stage, port);
  assert.match(await grace(stage, ['restart']), /^Restarted: pid [0-9]+ .* -> pid [0-9]+ /);
  say('The new process serves the very same socket, and the download goes on:');
  assert.equal(await request(stage, { port, path: '/' }), 'hello from green\n');
  await grace(stage, ['status']);
  await request(stage, { port: green.port, path: '/finish', isQuiet: true });
  assert.equal(await download.rest(), 'second half from green\n');
}

async function stopAll(stage: Stage, { port }: { port: number }): Promise<void> {
  say('Stop the daemon.');
  assert.equal(await grace(stage, ['stop']), 'Stopped\n');
  await assert.rejects(fetchText(stage, { port, path: '/' }), /ECONNREFUSED/);
}

function leaveRunning(
  { bin, dir }: Stage,
  { cleanUp, port, backends }: { cleanUp: AsyncDisposableStack; port: number; backends: readonly Backend[] },
): void {
  cleanUp.move(); // what it holds is to stay
  say('All of it is left running. Talk to it:');
  print(`  curl http://127.0.0.1:${port}/`);
  print(`  export PATH=${bin}:$PATH GRACE_DIR=${dir}`);
  print('  grace ls');
  say('and end it:');
  print('  grace stop');
  print(`  kill ${backends.map(({ pid }) => pid).join(' ')}`);
  print(`  rm -r ${dir}`);
}

/** Print a command as a user types it, run it, print and return what it prints. Rejects when it fails. */
async function grace({ bin, dir, signal }: Stage, args: readonly string[]): Promise<string> {
  print(`\n$ grace ${args.join(' ')}`);
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`, GRACE_DIR: dir };
  const child = spawn('grace', args, {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: AbortSignal.any([signal, AbortSignal.timeout(stepTimeoutMs)]),
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  assert.equal(exitCode, 0, `grace ${args.join(' ')} exited with ${exitCode}`);
  return output;
}

/** Ask for a page on a connection of its own, and print what comes back. */
async function request(
  stage: Stage,
  { port, path, isQuiet = false }: { port: number; path: string; isQuiet?: boolean },
): Promise<string> {
  const text = await fetchText(stage, { port, path });
  if (!isQuiet) print(`\n> GET http://127.0.0.1:${port}${path}\n${text.trimEnd()}`);
  return text;
}

async function fetchText(stage: Stage, target: { port: number; path: string }): Promise<string> {
  return (await openResponse(stage, target))
    .setEncoding('utf8')
    .toArray()
    .then((parts) => parts.join(''));
}

/** Start a download, and read its first half; the connection stays open until `rest` was read. */
async function openDownload(stage: Stage, port: number): Promise<{ rest(): Promise<string> }> {
  const response = await openResponse(stage, { port, path: '/download' });
  const parts = response.setEncoding('utf8')[Symbol.asyncIterator]();
  const { value: half } = await parts.next();
  print(`\n> GET http://127.0.0.1:${port}/download\n${half}...`);
  return {
    async rest() {
      let text = '';
      for (let part = await parts.next(); part.done !== true; part = await parts.next()) text += String(part.value);
      print(`\n> the download goes on\n... ${text.trimEnd()}`);
      return text;
    },
  };
}

async function openResponse(
  { signal }: Stage,
  { port, path }: { port: number; path: string },
): Promise<IncomingMessage> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(stepTimeoutMs)]);
  // agent: false makes a connection of its own, which ends with the answer.
  const asked = get({ host: '127.0.0.1', port, path, agent: false, signal: limit });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

async function startBackend(
  { cleanUp, isKept, signal }: Stage,
  { name, port }: { name: string; port: number },
): Promise<Backend> {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'start-backend.ts');
  const child = spawn(process.execPath, [script, name, String(port)], {
    detached: isKept,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanUp.defer(() => endChild(child));
  const [line] = (await once(child.stdout, 'data', {
    signal: AbortSignal.any([signal, AbortSignal.timeout(stepTimeoutMs)]),
  })) as [Buffer];
  child.stdout.destroy();
  child.unref(); // with --keep it stays when this process ends
  return { name, port: Number(line.toString()), pid: child.pid ?? 0 };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const end = once(child, 'exit');
  child.kill();
  await end;
}

/** However far the session came: no daemon is left behind. */
async function endDaemon({ bin, dir }: Stage): Promise<void> {
  const child = spawn(join(bin, 'grace'), ['-d', dir, 'stop', '--now'], { stdio: 'ignore' });
  await once(child, 'close'); // 3 when it has been stopped already
}

/** The port if it is free, else another one that is. */
async function choosePort(wanted: number): Promise<number> {
  const server = createServer();
  server.once('error', () => server.listen({ host: '127.0.0.1', port: 0 }));
  server.listen({ host: '127.0.0.1', port: wanted });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function say(text: string): void {
  print(`\n# ${text}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
