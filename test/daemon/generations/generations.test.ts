import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { statePaths } from '../../../src/control/paths.ts';
import type { GenerationReport } from '../../../src/control/shapes.ts';
import { Generations } from '../../../src/daemon/generations/generations.ts';
import { Changes } from '../../../src/forward/changes.ts';
import { makeTempDir } from '../../net/temp-dir.ts';
import { until } from '../../until.ts';

const timeout = 20_000;

function reportOf(pid: number, connections: number, since = '2026-01-02T03:04:05.678Z'): GenerationReport {
  const row = {
    src: 'tcp:9000',
    dst: 'tcp:9',
    connections,
    active: false,
    pid,
    bytesIn: 1,
    bytesOut: 2,
    since,
    listening: '',
  };
  return { pid, version: '1.2.3', since, rows: [{ srcKey: 'a', dstKey: 'b', row }], isRest: true };
}

type Asked = { command: string; srcKey?: string };

/** An older generation: what it says when it is followed, and to anything else. */
async function openGeneration(
  dir: string,
  {
    pid,
    connections,
    answer,
  }: { pid: number; connections: number; answer?: (asked: Asked, socket: Socket) => unknown },
) {
  const followers: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    createInterface({ input: socket }).once('line', (line) => {
      const asked: Asked = JSON.parse(line);
      const say = (message: object) => socket.write(`${JSON.stringify(message)}\n`);
      if (asked.command !== 'generation-follow') return say({ result: answer?.(asked, socket) });
      followers.push(socket);
      say({ progress: reportOf(pid, connections) });
    });
  });
  server.listen(statePaths(dir).generationSocket(pid));
  await once(server, 'listening');
  return {
    /** It has no connection left, and ends. */
    end() {
      for (const socket of followers) socket.end(`${JSON.stringify({ result: reportOf(pid, 0) })}\n`);
      server.close();
    },
    /** It is killed. */
    die() {
      for (const socket of followers) socket.destroy();
      server.close();
    },
  };
}

function setUp(t: TestContext) {
  const temp = makeTempDir();
  t.after(() => temp[Symbol.dispose]());
  const ended: GenerationReport[] = [];
  const generations = new Generations({
    paths: statePaths(temp.path),
    changes: new Changes(),
    onEnded: (last) => ended.push(last),
  });
  t.after(() => generations.close());
  return { dir: temp.path, generations, ended };
}

test('generations are found by their sockets, newest first, and followed to their ends', { timeout }, async (t) => {
  const { dir, generations, ended } = setUp(t);
  const one = await openGeneration(dir, { pid: 1_000_001, connections: 2 });
  t.after(() => one.die());
  await generations.discover();
  await generations.discover();
  assert.deepEqual(generations.reports, [reportOf(1_000_001, 2)]);
  assert.ok(generations.isFollowed(1_000_001));
  one.end();
  await until('the end is noticed', () => !generations.isFollowed(1_000_001));
  assert.deepEqual(ended, [reportOf(1_000_001, 0)]);
  assert.deepEqual(generations.reports, []);
});

test('of one that is killed the last that it said is what ended', { timeout }, async (t) => {
  const { dir, generations, ended } = setUp(t);
  const one = await openGeneration(dir, { pid: 1_000_001, connections: 2 });
  await generations.discover();
  one.die();
  await until('the end is noticed', () => ended.length > 0);
  assert.deepEqual(ended, [reportOf(1_000_001, 2)]);
});

test('a socket that nobody serves is removed, and other files are no generations', { timeout }, async (t) => {
  const { dir, generations, ended } = setUp(t);
  const paths = statePaths(dir);
  const one = await openGeneration(dir, { pid: 1_000_002, connections: 0 });
  one.die();
  writeFileSync(paths.generationSocket(1_000_003), ''); // refused, like the socket of a process that was killed
  writeFileSync(paths.pid, '1\n');
  await generations.discover();
  assert.deepEqual([existsSync(paths.generationSocket(1_000_003)), existsSync(paths.pid)], [false, true]);
  assert.deepEqual(ended, []);
});

test('a refresh asks anew, and of one that does not answer the last word has to do', { timeout }, async (t) => {
  const { dir, generations } = setUp(t);
  const [lively, stuck] = [1_000_001, 1_000_002];
  const both = await Promise.all([
    openGeneration(dir, { pid: lively, connections: 5, answer: () => reportOf(lively, 4) }),
    openGeneration(dir, { pid: stuck, connections: 7 }),
  ]);
  t.after(() => both.forEach((each) => each.die()));
  await generations.discover();
  await generations.refresh();
  const counts = new Map(generations.reports.map(({ pid, rows }) => [pid, rows[0]?.row.connections]));
  assert.deepEqual([counts.get(lively), counts.get(stuck)], [4, 7]);
});

test('a stop is for every generation, and says how many connections were closed', { timeout }, async (t) => {
  const { dir, generations } = setUp(t);
  const asked: Asked[] = [];
  const answer = (each: Asked) => {
    asked.push(each);
    return { closed: 3 };
  };
  const both = await Promise.all(
    [1_000_001, 1_000_002].map((pid) => openGeneration(dir, { pid, connections: 5, answer })),
  );
  t.after(() => both.forEach((each) => each.die()));
  await generations.discover();
  assert.equal(await generations.stop({ srcKey: 'a', timeoutMs: 10 }), 6);
  assert.deepEqual(asked, Array(2).fill({ command: 'generation-stop', timeoutMs: 10, srcKey: 'a' }));
});

test('of generations that are no longer followed nothing is known', { timeout }, async (t) => {
  const { dir, generations, ended } = setUp(t);
  const one = await openGeneration(dir, { pid: 1_000_001, connections: 2 });
  t.after(() => one.die());
  await generations.discover();
  generations.close();
  assert.deepEqual([generations.reports, ended], [[], []]);
});
