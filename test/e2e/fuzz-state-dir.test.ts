/** The executable, started on a state dir in which anything may lie under the names of its files. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import { alwaysInTime, hostileJson, hostileText, mutatedBytes, mutatedJson, timeout } from '../hostile.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { until } from '../until.ts';
import { startProgram } from './grace.ts';
import type { Outcome } from './grace.ts';

const text = (typed: string) => ({ typed, absolute: typed });
const state = {
  format: 1,
  rules: [
    { src: text('tcp:0:interface=127.0.0.1'), dst: text('tcp:127.0.0.1:9') },
    {
      src: { ...text('tcp:0:interface=127.0.0.2'), name: 'web' },
      dst: text('srv:_a._tcp.b.test:server=127.0.0.1'),
      port: 0,
    },
    {
      src: text('tcp6:0:interface=\\:\\:1'),
      dst: text('unix:/nowhere/a'),
      share: { dst: text('tcp:127.0.0.1:8'), percent: 10, secret: '0123456789abcdef' },
    },
  ],
};
const counters = {
  format: 1,
  rules: [{ srcKey: 'a', dstKey: 'b', bytesIn: 1, bytesOut: 2, since: '2026-01-02T03:04:05.678Z' }],
  generations: [{ pid: 1, version: '1', since: '2026-01-02T03:04:05.678Z', rows: [] }],
  counts: { sources: [{ key: 'a', src: 'b', connections: 1, numbers: { 'end finished': 3 } }], daemon: { crashes: 1 } },
  hasEnded: true,
};
const services = {
  format: 1,
  services: [
    {
      key: '["_a._tcp.b.test",0,[{"address":"127.0.0.1","port":53}]]',
      records: [{ priority: 1, weight: 1, port: 9, host: 'a.b.test' }],
      addresses: { 'a.b.test': ['127.0.0.1'] },
    },
  ],
};

/** What lies under a name: bytes, a directory, or a link. */
type Thing =
  Buffer | 'directory' | 'FIFO' | 'dangling link' | 'link to itself' | `link to /dev/${'null' | 'zero'}` | null;

function spoilt(value: unknown): fc.Arbitrary<Thing> {
  return fc.oneof(
    { weight: 3, arbitrary: mutatedJson(value).map((changed) => Buffer.from(JSON.stringify(changed) ?? '')) },
    { weight: 3, arbitrary: mutatedBytes([Buffer.from(JSON.stringify(value))]) },
    { weight: 1, arbitrary: hostileJson.map((each) => Buffer.from(JSON.stringify(each) ?? '')) },
    {
      weight: 1,
      arbitrary: hostileText(['{', '}', '[', ']', '"rules"', ':', ','], 8).map((each) => Buffer.from(each)),
    },
    { weight: 1, arbitrary: notWhole },
  );
}
const notWhole = fc.constantFrom<Thing>(
  Buffer.alloc(0),
  Buffer.alloc(4096),
  'directory',
  'FIFO',
  'dangling link',
  'link to itself',
  'link to /dev/null',
  'link to /dev/zero',
  null,
);
const small = fc.oneof(mutatedBytes([Buffer.from('123\n')]), notWhole);
const stateDir = fc.record({
  'state.json': fc.oneof(
    { weight: 5, arbitrary: spoilt(state) },
    { weight: 1, arbitrary: fc.constant(Buffer.from(JSON.stringify(state))) },
  ),
  'counters.json': spoilt(counters),
  'services.json': spoilt(services),
  'grace.pid': small,
  ready: small,
  'grace.lock': small,
  'start.lock': small,
  'grace.log': small,
  'grace.sock': small,
  'grace-123.sock': small,
});

function lay(path: string, thing: Thing): void {
  if (thing === null) return;
  if (Buffer.isBuffer(thing)) writeFileSync(path, thing);
  else if (thing === 'directory') mkdirSync(path);
  else if (thing === 'FIFO') execFileSync('mkfifo', [path]);
  else
    symlinkSync(thing === 'dangling link' ? `${path}.gone` : thing === 'link to itself' ? path : thing.slice(8), path);
}

/** Start a daemon there, have a rule stored, and end it. */
async function serve(
  t: TestContext,
  dir: string,
  home: string,
): Promise<Outcome & { hasServed: boolean; started: Outcome | null }> {
  const { child, ended, outcome } = startProgram(['-d', dir, 'daemon', '--log', '-'], { HOME: home, GRACE_LOG: '' });
  t.after(() => void child.kill('SIGKILL'));
  const late = setTimeout(() => child.kill('SIGKILL'), 45_000);
  let isOver = false;
  void ended.then(() => (isOver = true));
  await until('it serves, or has ended', () => isOver || /INFO \(\d+\): serving/.test(outcome().stderr));
  const hasServed = !isOver;
  const started = hasServed
    ? await startProgram(['-d', dir, 'start', 'tcp:0:interface=127.0.0.3', 'tcp:127.0.0.1:9'], { HOME: home }).ended
    : null;
  child.kill('SIGTERM');
  const last = await ended;
  clearTimeout(late);
  return { ...last, hasServed, started };
}

const trace = /mistake in grace|internal error|TypeError|RangeError|SyntaxError: |node:internal|^ {4}at /m;

/** All that was stored is there still: the file as it was under whatever name, or each of its rules. */
function mustBeKept(dir: string, before: Buffer, told: string): void {
  const files = readdirSync(dir).filter((name) => lstatSync(join(dir, name)).isFile());
  const isAside = files.some((name) => readFileSync(join(dir, name)).equals(before));
  if (isAside) return;
  const { rules } = JSON.parse(before.toString()) as {
    rules: { src: { absolute: string }; dst: { absolute: string } }[];
  };
  const now = JSON.parse(readFileSync(join(dir, 'state.json'), 'utf8')) as typeof state;
  const keyOf = ({ src, dst }: (typeof rules)[number]) => `${src.absolute} ${dst.absolute}`;
  const kept = new Set(now.rules.map(keyOf));
  assert.deepEqual(
    rules.map(keyOf).filter((each) => !kept.has(each)),
    [],
    told,
  );
}

test('a directory in the place of the control socket is told of, with what to do', { timeout }, async (t) => {
  using temp = makeTempDir();
  const dir = temp.file('state');
  mkdirSync(join(dir, 'grace.sock'), { recursive: true, mode: 0o700 });
  const { code, stderr } = await serve(t, dir, temp.path);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^grace: cannot make the control socket (\S+grace\.sock): a directory is there\nhint: remove it: rmdir \1\n$/m,
  );
  assert.deepEqual(
    readdirSync(dir).filter((name) => /^grace[-.].*sock./.test(name)),
    [],
    'nothing is left of it',
  );
});

test(
  'a FIFO or a device without end in the place of any file of the state dir holds no daemon up',
  { timeout },
  async (t) => {
    using temp = makeTempDir();
    for (const thing of ['FIFO', 'link to /dev/zero'] as const) {
      const dir = temp.file(thing.slice(0, 4));
      mkdirSync(dir, { mode: 0o700 });
      for (const name of ['state.json', 'counters.json', 'services.json', 'grace.pid', 'ready'])
        lay(join(dir, name), thing);
      const { code, stderr, hasServed, started } = await serve(t, dir, temp.path);
      assert.deepEqual([code, hasServed, started?.code], [0, true, 0], stderr);
      assert.match(stderr, /state\.json is damaged \(a (named pipe \(FIFO\)|device), not a file\); it is kept as /);
      assert.ok(lstatSync(join(dir, 'state.json')).isFile());
    }
  },
);

test(
  'whatever lies in the state dir, a daemon serves or says in a line or two why not, and no stored rule is lost',
  { timeout: timeout * 2 },
  async (t) => {
    using temp = makeTempDir();
    let [count, served] = [0, 0];
    await alwaysInTime(5, fc.array(stateDir, { minLength: 3, maxLength: 3 }), async (all) => {
      await Promise.all(
        all.map(async (things) => {
          const dir = temp.file(String(count++));
          mkdirSync(dir, { mode: 0o700 });
          for (const [name, thing] of Object.entries(things)) lay(join(dir, name), thing);
          const { code, stderr, hasServed, started } = await serve(t, dir, temp.path);
          const laid = Object.entries(things).map(
            ([name, thing]) => `${name}: ${Buffer.isBuffer(thing) ? JSON.stringify(thing.toString()) : thing}`,
          );
          const told = `${laid.join('\n')}\nexit ${code}: ${stderr}${JSON.stringify(started)}`;
          assert.doesNotMatch(stderr, trace, told);
          if (hasServed) {
            served++;
            assert.equal(code, 0, told);
            assert.ok(started!.code === 0 || started!.code === 1, told);
            assert.doesNotMatch(started!.stderr, trace, told);
          } else {
            assert.ok(code === 1 || code === 2, told);
            assert.match(stderr, /^grace: [^\n]+\n(hint: [^\n]+\n)?$/m, told);
          }
          const before = things['state.json'];
          if (Buffer.isBuffer(before)) mustBeKept(dir, before, told);
          else if (before === 'directory') assert.ok(existsSync(join(dir, 'state.json')), told);
        }),
      );
    });
    t.diagnostic(`${served} of ${count} served`);
  },
);
