import assert from 'node:assert/strict';
import https from 'node:https';
import { test } from 'node:test';
import { parseDuration } from '../../src/demo/duration.ts';
import { get } from './get.ts';
import { Program } from './program.ts';

const options = { timeout: 120_000 };

test('a slow request is answered by the old process after a quick one by the new', options, async () => {
  const begin = performance.now();
  await using program = new Program('demo-server.ts', [':0', '127.0.0.1:0', '127.0.0.1:0', '--tls', '127.0.0.1:0']);
  const [, port = '', oldPid] = await program.line(
    /^Serving (?:\[::\]|0\.0\.0\.0):(\d+), \S+, \S+, \S+ with pid (\d+)\.$/,
  );
  const where = { host: '127.0.0.1', port: Number(port) };
  const order: string[] = [];
  // Much longer than a process takes to start on this machine, as busy as it is.
  const slowMs = Math.max(1500, Math.ceil(3 * (performance.now() - begin)));
  const slow = get(where, `/sleep/?duration=${slowMs}ms`).then((text) => (order.push('slow'), text));
  // The slow one has come when this one, on a connection that was made later, is answered.
  assert.match(
    await get(where, '/sleep/?duration=0s'),
    new RegExp(`^Zero started at \\S+ slept for 0 nanoseconds from pid ${oldPid}\\.\n$`),
  );

  process.kill(Number(oldPid), 'SIGUSR2');
  const [, newPid] = await program.line(/^Serving .* with pid (\d+)\.$/);
  await program.line(new RegExp(`^Graceful handoff of .* from pid ${oldPid} to pid ${newPid}\\.$`));
  const quick = await askUntil(where, newPid!);
  order.push('quick');
  assert.match(quick, new RegExp(`slept for 0 nanoseconds from pid ${newPid}\\.\n$`));
  assert.match(
    await slow,
    new RegExp(`^Zero started at \\S+ slept for ${slowMs}000000 nanoseconds from pid ${oldPid}\\.\n$`),
  );
  assert.deepEqual(order, ['quick', 'slow']);
  await program.line(new RegExp(`^Exiting pid ${oldPid}\\.$`));

  const last = get(where, '/sleep/?duration=300ms');
  await get(where, '/sleep/?duration=0s');
  process.kill(Number(newPid), 'SIGTERM');
  assert.match(await last, new RegExp(`slept for 300000000 nanoseconds from pid ${newPid}\\.\n$`));
  await program.ended;
});

/** Both accept until the old process has heard the signal; ask until the new one answers. */
async function askUntil(where: { host: string; port: number }, pid: string): Promise<string> {
  for (;;) {
    const text = await get(where, '/sleep/?duration=0s');
    if (text.endsWith(` ${pid}.\n`)) return text;
  }
}

test('each port has its name, and one speaks TLS', options, async () => {
  await using program = new Program('demo-server.ts', ['127.0.0.1:0', '127.0.0.1:0', '--tls', '127.0.0.1:0']);
  const [, ...ports] = await program.line(/^Serving \S+:(\d+), \S+:(\d+), \S+:(\d+) with pid \d+\.$/);
  assert.match(await get({ host: '127.0.0.1', port: Number(ports[0]) }, '/sleep/'), /^Zero started/);
  assert.match(
    await get({ host: '127.0.0.1', port: Number(ports[1]) }, '/sleep/?duration=1ms'),
    /^First started at \S+ slept for 1000000 nanoseconds/,
  );
  const secure = await new Promise<string>((resolve, reject) => {
    https
      .get(
        { host: 'localhost', port: Number(ports[2]), path: '/sleep/', rejectUnauthorized: false, agent: false },
        (response) => {
          response.setEncoding('utf8').once('data', resolve);
        },
      )
      .on('error', reject);
  });
  assert.match(secure, /^Second started/);
  assert.match(await get({ host: '127.0.0.1', port: Number(ports[0]) }, '/'), /^try /);
});

test('durations are those of Go and bare seconds', () => {
  const cases: [string, number | null][] = [
    ['20s', 20_000],
    ['1.5s', 1500],
    ['1m30s', 90_000],
    ['500ms', 500],
    ['2h', 7_200_000],
    ['250us', 0.25],
    ['3', 3000],
    ['', null],
    ['s', null],
    ['-1s', null],
    ['1 s', null],
    ['1d', null],
    ['1000h', null],
  ];
  for (const [text, milliseconds] of cases) assert.equal(parseDuration(text), milliseconds, text);
});
