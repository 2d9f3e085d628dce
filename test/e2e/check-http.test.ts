/** A destination is asked over HTTP before it gets a rule's connections. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, runtime } from './grace.ts';

const options = { timeout: 120_000 };
const src = 'tcp:0:interface=127.0.0.1';

/** A server that answers /up with the status that it has at the time, and anything else with its name. */
async function startWeb(
  t: TestContext,
  name: string,
  { path }: { path?: string } = {},
): Promise<{ dst: string; status: number; headers: http.IncomingHttpHeaders[] }> {
  const web = { dst: '', status: 200, headers: [] as http.IncomingHttpHeaders[] };
  const server = http.createServer((request, response) => {
    if (request.url !== '/up') return void response.end(name);
    web.headers.push(request.headers);
    response.writeHead(web.status).end('x'.repeat(100_000));
  });
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  web.dst = path === undefined ? `tcp:127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`;
  return web;
}

async function get(port: number): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text();
}

test('switch --check-http switches to what answers well, and to nothing else', options, async (t) => {
  const [blue, green] = [await startWeb(t, 'blue'), await startWeb(t, 'green')];
  const grace = makeGrace(t);
  await grace.ok('start', '--name', 'web', src, blue.dst);
  const port = await grace.port(src);
  green.status = 503;
  const refused = await grace.run('switch', 'web', green.dst, '--check-http', '/up');
  assert.deepEqual(refused, {
    code: 5,
    stdout: '',
    stderr: `grace: cannot switch ${src} to ${green.dst}: GET /up: answered 503, not 200-399\nhint: nothing was changed\n`,
  });
  assert.equal(await get(port), 'blue');
  const { code, stdout } = await grace.run('switch', 'web', green.dst, '--check-http', '/up=200', '--json');
  assert.equal(code, 5);
  assert.deepEqual(JSON.parse(stdout), {
    error: `cannot switch ${src} to ${green.dst}: GET /up: answered 503, not 200`,
    hint: 'nothing was changed',
    code: 'ERR_GRACE_NOT_ACCEPTED',
    exitCode: 5,
  });
  green.status = 204;
  assert.equal(await grace.ok('switch', 'web', green.dst, '--check-http', '/up'), 'Switched\n');
  assert.equal(await get(port), 'green');
  green.status = 500;
  assert.equal((await grace.run('switch', 'web', green.dst, '--check-http', '/up')).code, 5); // it is there already, and ill
  assert.equal(await grace.ok('switch', 'web', green.dst), 'Switched\n');
  assert.equal((await grace.run('start', src, green.dst, '--check-http', '/up')).code, 5);
  assert.equal(await get(port), 'green');
  const { version } = await grace.status();
  assert.deepEqual(green.headers.at(-1), {
    host: green.dst.slice('tcp:'.length),
    'user-agent': `grace/${version}`,
    accept: '*/*',
    connection: 'close',
  });
});

test('switch --check-http says what is no HTTP, and what does not answer in time', options, async (t) => {
  const blue = await startWeb(t, 'blue');
  const echo = await startBackend(t, 'SSH-2.0-\u001b[2J');
  const grace = makeGrace(t);
  await grace.ok('start', src, blue.dst);
  const ssh = await grace.run('switch', src, echo.endpoint, '--check-http', '/up');
  assert.equal(ssh.code, 5);
  assert.match(ssh.stderr, /: GET \/up: not HTTP: "SSH-2\.0-\\x1b\[2J"\n/);
  const silent = await startWeb(t, 'unused');
  const server = http.createServer(() => {}).listen(0, '127.0.0.1');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  const late = await grace.run(
    'switch',
    src,
    `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`,
    '--check-http',
    '/up',
    '--timeout',
    '200ms',
  );
  assert.deepEqual([late.code, late.stdout], [5, '']);
  assert.match(late.stderr, /: GET \/up: no answer in 0\.2s\nhint: nothing was changed\n$/);
  assert.equal((await grace.ls())[0]?.dst, blue.dst);
  assert.equal(silent.headers.length, 0);
});

test('--timeout of switch --check-http is for all of the check, whatever DST is patient with', options, async (t) => {
  const [blue, nobody] = [await startWeb(t, 'blue'), `tcp:${ownLoopback}:1:retry=60s`];
  const grace = makeGrace(t);
  await grace.ok('start', '--name', 'web', src, blue.dst);
  const began = performance.now();
  const { code, stderr } = await grace.run('switch', 'web', nobody, '--check-http', '/up', '--timeout', '500ms');
  assert.equal(code, 5);
  assert.match(stderr, /: no answer within 0\.5 s\nhint: nothing was changed\n$/);
  assert.ok(performance.now() - began < 30_000);
});

test('switch --check-http --wait then waits for the connections to the earlier destination', options, async (t) => {
  const echo = await startBackend(t, 'old');
  const grace = makeGrace(t);
  const green = await startWeb(t, 'green', { path: join(grace.dir, '../green.sock') });
  await grace.ok('start', src, echo.endpoint);
  const client = await openClient(t, { port: await grace.port(src) });
  assert.equal(await client.line(), 'old');
  const waiting = grace.spawn('switch', src, green.dst, '--check-http', '/up', '--wait');
  await once(waiting.child.stdout!, 'data');
  assert.equal(waiting.outcome().stdout, 'Switched\n');
  assert.equal(waiting.child.exitCode, null);
  assert.equal(await client.echo('still there'), 'still there');
  await client.end();
  assert.equal((await waiting.ended).code, 0);
  assert.equal(green.headers[0]?.host, 'localhost');
});

test(
  'start --check-http starts nothing for a destination that does not answer well, and leaves no daemon',
  options,
  async (t) => {
    const [blue, green] = [await startWeb(t, 'blue'), await startWeb(t, 'green')];
    const grace = makeGrace(t);
    blue.status = 500;
    const refused = await grace.run('start', src, blue.dst, '--check-http', '/up');
    assert.deepEqual(refused, {
      code: 5,
      stdout: '',
      stderr: `grace: cannot start ${src} to ${blue.dst}: GET /up: answered 500, not 200-399\nhint: nothing was started\n`,
    });
    assert.equal((await grace.run('status')).code, 3);
    blue.status = 200;
    assert.equal(await grace.ok('start', '--switch', src, blue.dst, '--check-http', '/up'), 'Started\n');
    const port = await grace.port(src);
    green.status = 500;
    assert.equal((await grace.run('start', '--switch', src, green.dst, '--check-http', '/up')).code, 5);
    assert.equal(await get(port), 'blue');
    assert.equal(await grace.ok('start', '--switch', src, green.dst, '--check-http', '/up=500'), 'Started\n');
    assert.equal(await get(port), 'green');
  },
);

test(
  'the HTTP check is the same on the portable engine',
  { ...options, skip: runtime !== 'executable' && 'it is the only one there' },
  async (t) => {
    const [blue, green] = [await startWeb(t, 'blue'), await startWeb(t, 'green')];
    const grace = makeGrace(t);
    const daemon = grace.spawn('daemon', '--engine', 'portable', `${src}=${blue.dst}`);
    t.after(() => daemon.ended);
    await grace.port(src).catch(() => {});
    while ((await grace.run('status')).code !== 0) assert.equal(daemon.child.exitCode, null);
    green.status = 404;
    assert.match((await grace.run('switch', src, green.dst, '--check-http', '/up')).stderr, /answered 404/);
    green.status = 302;
    assert.equal(await grace.ok('switch', src, green.dst, '--check-http', '/up'), 'Switched\n');
  },
);
