/** A restart in which the new process does not get the descriptors that it should: it serves, or the old one does as before. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { alwaysInTime, timeout } from '../hostile.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, program } from './grace.ts';
import { descriptorsOf, processesOf } from './processes.ts';

/** Of the three listeners, the lock, the two of the channel to the keeper, the socket by which connections move, and the log. */
const places = 8;
const firstPlace = 3;

/** What a place may get instead, as a shell opens it. */
const kinds = {
  nothing: '<&-',
  file: '</proc/self/exe',
  device: '<>/dev/null',
  directory: '</',
  pipe: '< <(:)',
  datagrams: '<>/dev/udp/127.0.0.1/9',
  connection: '<>/dev/tcp/127.0.0.1/$BACKEND',
};

type Change =
  | { what: 'put'; place: number; kind: keyof typeof kinds }
  | { what: 'swap'; place: number; other: number }
  | { what: 'more' | 'fewer' | 'beyond'; by: number }
  | { what: 'names' };

/** What a shell does so that the program that it becomes finds it like that. */
function linesOf(change: Change): string[] {
  const fd = (place: number) => firstPlace + place;
  switch (change.what) {
    case 'put':
      return [`exec ${fd(change.place)}${kinds[change.kind]}`];
    case 'swap':
      return [`exec 60<&${fd(change.place)} ${fd(change.place)}<&${fd(change.other)} ${fd(change.other)}<&60 60<&-`];
    case 'more':
      return Array.from(
        { length: change.by },
        (_, index) =>
          `exec ${fd(places + index)}<>/dev/null; LISTEN_FDS=$((LISTEN_FDS + 1)) LISTEN_FDNAMES=$LISTEN_FDNAMES:more`,
      );
    case 'fewer':
      return Array.from(
        { length: change.by },
        () => 'LISTEN_FDS=$((LISTEN_FDS - 1)) LISTEN_FDNAMES=${LISTEN_FDNAMES%:*}',
      );
    case 'beyond':
      return [`LISTEN_FDS=$((LISTEN_FDS + ${change.by * 50}))`];
    case 'names':
      return ['LISTEN_FDNAMES=${LISTEN_FDNAMES%:*:*}:${LISTEN_FDNAMES##*:}:grace-lock'];
  }
}

const place = fc.nat({ max: places - 1 });
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant('put' as const),
      place,
      kind: fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])),
    }),
  },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('swap' as const), place, other: place }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constantFrom('more', 'fewer', 'beyond'), by: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: 'names' as const }) },
);

/** What has gone wrong, or would be worst: a rule that goes on with the socket of another. */
const known: Change[] = [
  { what: 'swap', place: 0, other: 2 },
  { what: 'put', place: 0, kind: 'file' },
  { what: 'swap', place: 1, other: 3 },
  { what: 'put', place: 3, kind: 'file' },
  { what: 'put', place: 4, kind: 'pipe' },
  { what: 'put', place: 5, kind: 'directory' },
];

test(
  'whatever descriptors a new process gets, it serves each rule on its own socket, or the old one goes on',
  { timeout: timeout * 3, skip: process.platform !== 'linux' ? 'the wrapper is for Linux' : false },
  async (t) => {
    const grace = makeGrace(t);
    const [file, lines, path] = ['wrapper', 'lines', 'app.sock'].map((name) => join(dirname(grace.dir), name)) as [
      string,
      string,
      string,
    ];
    const backends = [await startBackend(t, 'A'), await startBackend(t, 'B'), await startBackend(t, 'C')];
    const sources = ['tcp:0:interface=127.0.0.1', `unix:${path}`, 'tcp:0:interface=127.0.0.2'];
    for (const [index, src] of sources.entries()) await grace.ok('start', src, backends[index]!.endpoint);
    const ports = await Promise.all(sources.map((src) => grace.port(src)));
    const shell = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
    const command = program.map(shell).join(' ');
    writeFileSync(file, `#!/bin/bash\nBACKEND=${backends[0]!.port}\n. ${shell(lines)}\nexec ${command} "$@"\n`, {
      mode: 0o755,
    });
    const reach = async (index: number) => {
      const where = index === 1 ? { path } : { port: ports[index]!, host: `127.0.0.${index === 0 ? 1 : 2}` };
      const client = await openClient(t, where);
      assert.equal(await client.line(), 'ABC'[index]);
      return client;
    };
    let [count, restarted] = [0, 0];
    const { keeper } = await grace.status();
    assert.ok(keeper);
    /** One daemon serves, its keeper knows it, and there is nobody else but who finishes what it had. */
    const settled = async (told: string) => {
      await until(
        () => `the keeper is there: ${told}`,
        async () => (await grace.status()).keeper?.pid === keeper.pid,
      );
      await until(
        () => `nobody else is there: ${processesOf(grace.dir).map(({ pid }) => pid)}: ${told}`,
        async () => {
          const { pid, generations } = await grace.status();
          const pids = new Set([pid, keeper.pid, ...generations.map((each) => each.pid)]);
          return processesOf(grace.dir).every((each) => pids.has(each.pid) || each.state === 'Z');
        },
      );
    };
    const attempt = async (changes: readonly Change[]) => {
      writeFileSync(lines, `${changes.flatMap(linesOf).join('\n')}\n`);
      const client = await reach(0);
      const { pid } = await grace.status();
      const before = [...descriptorsOf(pid)].length;
      const { code, stdout, stderr } = await grace.run('restart', '--exec', file, '--timeout', '8s');
      const told = `${JSON.stringify(changes)}: exit ${code}: ${stdout}${stderr}\n${grace.log().slice(-3000)}`;
      count++;
      assert.ok(code === 0 || code === 1, told);
      assert.doesNotMatch(stderr + grace.log(), /mistake in grace|internal error|^ {4}at |"stack"/m, told);
      const after = await grace.status();
      if (code === 0) restarted++;
      else {
        assert.match(stderr, /^grace: [^\n]+\n(hint: [^\n]+\n)?$/, told);
        assert.equal(after.pid, pid, told);
        await until(
          () => `descriptors are as before: ${told}`,
          () => [...descriptorsOf(pid)].length <= before,
        );
      }
      await settled(told);
      for (const index of sources.keys()) (await reach(index)).socket.destroy();
      assert.equal(await client.echo('still'), 'still', told);
      client.socket.destroy();
      return code;
    };
    assert.equal(await attempt([]), 0);
    for (const each of known) await attempt([each]);
    await alwaysInTime(2, fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
      await attempt(changes);
    });
    t.diagnostic(`${restarted} of ${count} restarts came to their end`);
  },
);
