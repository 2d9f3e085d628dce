import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { call } from '../../src/control/client.ts';
import { readLines } from '../../src/control/lines.ts';
import { readReply, readRequest } from '../../src/control/messages.ts';
import type { Command } from '../../src/control/messages.ts';
import { statePaths } from '../../src/control/paths.ts';
import { GraceError } from '../../src/error.ts';
import { countCpuMs } from '../cpu-time.ts';
import {
  always,
  alwaysInTime,
  hostileJson,
  hostileText,
  mustBeRefusal,
  mutatedJson,
  readOrRefused,
  timeout,
} from '../hostile.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { requests } from './requests.ts';
import { heardBy, serveHere } from './serve-here.ts';

const mutated = fc.oneof(hostileJson, ...requests.map((request) => mutatedJson(request)));

test('a request of any form is read, or refused in a line', { timeout }, () => {
  let read = 0;
  always(2000, mutated, (message) => {
    if (readOrRefused(() => readRequest(message)) !== null) read++;
  });
  assert.ok(read > 100, `only ${read} could be read`);
  for (const request of requests) assert.deepEqual(readRequest(request), request);
});

test('a request whose name is no text is refused, whatever becomes of it as one', () => {
  for (const command of [{ toString: 1 }, { toString: null, valueOf: null }, [[]], null, '\u001b[2J', 'x'.repeat(1e6)])
    assert.throws(
      () => readRequest({ command }),
      (error) => {
        mustBeRefusal(error);
        return error.message.startsWith('the daemon does not understand the request') && error.message.length < 4100;
      },
    );
});

test('an answer of any form is read, or refused in a line', { timeout }, () => {
  const names = requests.map(({ command }) => command);
  const row = {
    src: 'a',
    dst: 'b',
    connections: 1,
    active: true,
    pid: 1,
    bytesIn: 0,
    bytesOut: 0,
    since: '',
    listening: '',
  };
  const replies = [
    { result: { rows: [row] } },
    { progress: { waiting: [row] } },
    { error: { message: 'no', exitCode: 1, hint: 'h', code: 'ERR_GRACE_USAGE', retry: true } },
    { result: { changed: true, notes: [], ofDestination: [] } },
  ];
  always(
    1500,
    fc.tuple(fc.constantFrom<Command>(...names), fc.oneof(hostileJson, ...replies.map(mutatedJson))),
    ([name, reply]) => {
      readOrRefused(() => readReply(name, reply));
    },
  );
});

test('a time that no timer can hold is the longest there is', () => {
  for (const much of [2 ** 31, 1e300, Infinity])
    assert.deepEqual(readRequest({ command: 'stop', timeoutMs: much }), { command: 'stop', timeoutMs: 2 ** 31 - 1 });
});

test(
  'lines are the same however they are cut, and a long one costs no more for each of its parts',
  { timeout },
  async () => {
    await alwaysInTime(
      100,
      fc.tuple(fc.array(hostileJson, { maxLength: 5 }), fc.infiniteStream(fc.integer({ min: 1, max: 9 }))),
      async ([messages, sizes]) => {
        const known = messages.map((message) => JSON.parse(JSON.stringify(message) ?? 'null') as unknown);
        const bytes = Buffer.from(known.map((message) => `${JSON.stringify(message)}\n`).join(''));
        const stream = new PassThrough();
        for (let at = 0; at < bytes.length;) {
          const end = at + sizes.next().value;
          stream.write(bytes.subarray(at, end));
          at = end;
        }
        stream.end();
        const found = [];
        for await (const message of readLines(stream)) found.push(message);
        assert.deepEqual(found, known);
      },
    );
    const costs = [];
    for (const size of [20_000, 160_000]) {
      const stream = new PassThrough({ highWaterMark: 2 ** 24, readableObjectMode: true });
      const part = Buffer.from('1');
      for (let sent = 0; sent < size; sent++) stream.write(part);
      stream.end('\n');
      const cpuMs = countCpuMs();
      for await (const message of readLines(stream)) assert.equal(message, Infinity);
      costs.push(cpuMs());
    }
    const [small = 0, large = 0] = costs;
    assert.ok(large < 20 * Math.max(small, 10), `${small} ms, and ${large} ms for 8 times as much`);
  },
);

test(
  'whatever is sent, the one who serves answers in a line or hangs up, and takes the next one',
  { timeout },
  async (t) => {
    const refuse = () => Promise.reject(new GraceError('heard'));
    const { dir, server, errors } = await serveHere(t, refuse, { backlog: 100 });
    const path = statePaths(dir).socket;
    const text = fc.oneof(
      mutated.map((message) => `${JSON.stringify(message)}\n`),
      hostileText(['{"command":"ls"}', '{', '}', '[', ']', ':', ',', '\n', '\\u0000', '\\ud800'], 12),
      fc.constantFrom(
        '['.repeat(200_000) + '\n',
        `${'{"a":'.repeat(100_000)}\n`,
        '\n\n\n',
        `{"command":"${'x'.repeat(200_000)}"}\n`,
      ),
    );
    const bytes = fc.oneof(
      text.map((each) => Buffer.from(each)),
      fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each)),
    );
    const way = fc.constantFrom('whole', 'parts', 'end', 'destroy');
    await alwaysInTime(150, fc.tuple(bytes, way), async ([sent, how]) => {
      const socket = connect(path).on('error', () => {});
      await once(socket, 'connect');
      const answer = heardBy(socket);
      if (how === 'parts') for (const at of sent.subarray(0, 50).keys()) socket.write(sent.subarray(at, at + 1));
      socket.write(how === 'parts' ? sent.subarray(50) : sent);
      if (how === 'destroy') socket.destroy();
      else socket.end();
      const told = await answer;
      if (told === '') return;
      const { error } = JSON.parse(told) as { error: { message: string; hint?: string } };
      assert.ok(told.length < 10_000 && !/\p{Cc}/u.test(error.message + (error.hint ?? '')), told);
    });
    await server.idle();
    assert.deepEqual(errors, []);
    await assert.rejects(call(dir, { command: 'ls' }), { message: 'heard' });
  },
);

test('who asks, and is answered by something else, is told so', { timeout }, async (t) => {
  using dir = makeTempDir();
  let answer = '';
  const server = createServer((socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end(answer),
  ).listen(statePaths(dir.path).socket);
  await once(server, 'listening');
  t.after(() => void server.close());
  for (answer of ['220 mail.example.com\r\n', '{"result":7}\n', '{"error":{}}\n', 'null\n', `"${'x'.repeat(5 << 20)}`])
    await assert.rejects(call(dir.path, { command: 'ls' }), (error) => {
      mustBeRefusal(error);
      return true;
    });
});
