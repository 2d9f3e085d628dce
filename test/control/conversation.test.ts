import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { call } from '../../src/control/client.ts';
import { statePaths } from '../../src/control/paths.ts';
import { MovedError } from '../../src/control/server.ts';
import { GraceError } from '../../src/error.ts';
import { sendRaw, serveHere } from './serve-here.ts';

const timeout = 60_000;

test('a request gets its progress and its result', { timeout }, async (t) => {
  const { dir } = await serveHere(t, async (request, { progress }) => {
    assert.equal(request.command, 'wait');
    progress({ waiting: [] });
    return {};
  });
  const heard: unknown[] = [];
  assert.deepEqual(await call(dir, { command: 'wait' }, { onProgress: (each) => heard.push(each) }), {});
  assert.deepEqual(heard, [{ waiting: [] }]);
});

test('an error keeps its hint and kind on the way', { timeout }, async (t) => {
  const { dir } = await serveHere(t, () =>
    Promise.reject(new GraceError('no', { hint: 'do yes', code: 'ERR_GRACE_USAGE' })),
  );
  await assert.rejects(
    call(dir, { command: 'ls' }),
    (error: GraceError) => error.message === 'no' && error.hint === 'do yes' && error.code === 'ERR_GRACE_USAGE',
  );
});

test('no daemon is exit code 3', { timeout }, async () => {
  await assert.rejects(
    call('/nonexistent/state', { command: 'ls' }),
    (error: GraceError) => error.code === 'ERR_GRACE_NO_DAEMON' && /no daemon runs/.test(error.message),
  );
});

test('a question to a daemon that has been replaced is asked again', { timeout }, async (t) => {
  let asked = 0;
  const { dir } = await serveHere(t, () => {
    asked++;
    return asked < 3 ? Promise.reject(new MovedError('replaced')) : Promise.resolve({ rows: [] });
  });
  assert.deepEqual(await call(dir, { command: 'ls' }), { rows: [] });
  assert.equal(asked, 3);
});

test('a client that goes away cancels its request', { timeout }, async (t) => {
  const cancelled = Promise.withResolvers<void>();
  const { dir, server } = await serveHere(
    t,
    (_, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          cancelled.resolve();
          reject(signal.reason);
        });
        aborter.abort(new Error('enough'));
      }),
  );
  const aborter = new AbortController();
  await assert.rejects(call(dir, { command: 'wait' }, { signal: aborter.signal }), /enough/);
  await cancelled.promise;
  await server.idle();
});

test('what is no request is answered with an error, and the next client is served', { timeout }, async (t) => {
  const { dir, errors } = await serveHere(t, () => Promise.resolve({ rows: [] }));
  for (const bad of [
    'hello\n',
    '{}\n',
    '[1]\n',
    '{"command":"fly"}\n',
    '{"command":"start","src":"tcp:1"}\n',
    'null\n',
  ]) {
    const answer = JSON.parse(await sendRaw(dir, bad));
    assert.equal(typeof answer.error.message, 'string', bad);
    assert.equal(answer.error.exitCode, 1);
  }
  assert.deepEqual(await call(dir, { command: 'ls' }), { rows: [] });
  assert.deepEqual(errors, []);
});

test('an endless request is cut off', { timeout }, async (t) => {
  const { dir, server } = await serveHere(t, () => Promise.resolve({}));
  assert.equal(await sendRaw(dir, 'x'.repeat(3 * 1024 * 1024)), '');
  await server.idle();
});

test('a mistake of the daemon itself is an error for the client and is told to the log', { timeout }, async (t) => {
  const { dir, errors } = await serveHere(t, () => Promise.reject(new TypeError('a bug')));
  await assert.rejects(call(dir, { command: 'ls' }), /a bug/);
  assert.equal(errors.length, 1);
});

test('an answer that is not understood is told of as one of another version', { timeout }, async (t) => {
  const { dir } = await serveHere(t, (() => Promise.resolve({ rows: [{ src: 5 }] })) as never);
  await assert.rejects(
    call(dir, { command: 'ls' }),
    (error: GraceError) =>
      error.message.startsWith('the answer of the daemon to "ls" is not understood: ') &&
      /different versions/.test(error.hint ?? ''),
  );
});

test(
  'clients that ask nothing keep nobody from asking: beyond some hundreds the oldest is ended',
  { timeout },
  async (t) => {
    const { dir } = await serveHere(t, () => Promise.resolve({ rows: [] }));
    const silent: Socket[] = [];
    for (let count = 0; count < 300; count++) {
      const socket = connect(statePaths(dir).socket).on('error', () => {});
      await new Promise((resolve) => socket.once('connect', resolve));
      silent.push(socket.resume());
    }
    t.after(() => silent.forEach((socket) => socket.destroy()));
    const [oldest] = silent;
    if (!oldest?.closed) await new Promise((resolve) => oldest?.once('close', resolve));
    assert.deepEqual(await call(dir, { command: 'ls' }), { rows: [] });
    assert.ok(!silent.at(-1)?.closed);
  },
);

test('more commands than can be under way are refused in words', { timeout }, async (t) => {
  const hung = Promise.withResolvers<{ rows: [] }>();
  const begins = new EventEmitter();
  const { dir } = await serveHere(t, () => {
    begins.emit('begin');
    return hung.promise;
  });
  const asked = Array.from({ length: 1000 }, () => sendRaw(dir, '{"command":"ls"}\n'));
  // Each is answered at once, as one too many, or begins, or another one does.
  let answer: unknown = null;
  while (!/too many commands are under way/.test(String(answer))) {
    const begun = once(begins, 'begin');
    answer = await Promise.race([call(dir, { command: 'ls' }).catch((error: Error) => error.message), begun]);
  }
  hung.resolve({ rows: [] });
  await Promise.all(asked);
  assert.deepEqual(await call(dir, { command: 'ls' }), { rows: [] });
});
