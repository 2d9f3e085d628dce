/**
 * One of two processes is killed in the middle of a restart, at each step of a move of connections with TLS: nothing wrong is sent
 * to anybody, what the other one can go on with goes on, and new clients are served.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { openStream, openStreamServer } from '../engine/soak-streams.ts';
import type { Stream } from '../engine/soak-streams.ts';
import { until } from '../until.ts';
import type { Killing } from './fixtures/kill-at-line.ts';
import { makeGrace, program, root, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const skip = (process.platform !== 'linux' || runtime === 'deno') && 'TLS moves with the native engine of Node alone';
const options = { timeout: 300_000, skip };
const ciphers = ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'];

/** What becomes of the connections: all go on, or they may be reset. */
type Fate = 'live' | 'may be lost';
/** Who is killed at which line of move.ts, before or after it was passed on. */
const steps: readonly [word: string, victim: 'old' | 'new', isPassed: boolean, fate: Fate][] = [
  ['batch', 'old', true, 'live'],
  ['batch', 'new', false, 'live'],
  ['received', 'old', false, 'live'],
  ['received', 'new', false, 'live'],
  ['keep', 'old', false, 'live'],
  ['keep', 'new', false, 'may be lost'],
  ['moved', 'new', true, 'may be lost'],
  // The others take as long again: GRACE_FUZZ_RUNS=2.
  // Nobody has said who has them: the sockets are in a message that nobody reads.
  ['batch', 'old', false, 'may be lost'],
  ['batch', 'new', true, 'may be lost'],
  ['received', 'old', true, 'live'],
  ['received', 'new', true, 'may be lost'],
  ['keep', 'old', true, 'live'],
  ['keep', 'new', true, 'may be lost'],
  ['moved', 'old', false, 'live'],
  ['counted', 'old', true, 'live'],
  ['counted', 'new', false, 'may be lost'],
];
const usual = Number(process.env['GRACE_FUZZ_RUNS'] || 1) > 1 ? steps.length : 7;

/** Runs grace in its own place, with its standard input and output read by who kills. */
function wrapper(spec: string): string {
  const shell = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  const killer = [process.execPath, join(root, 'test/e2e/fixtures/kill-at-line.ts')].map(shell).join(' ');
  return [
    '#!/bin/bash',
    'exec 40<&0 41>&1',
    'pass() { for fd in {3..39}; do eval "exec $fd<&-"; done; exec 40<&- 41>&-; exec ' +
      `${killer} "$1" ${shell(spec)} $$; }`,
    `exec ${program.map(shell).join(' ')} "$@" < <(exec <&40; pass in) > >(exec >&41; pass out) 40<&- 41>&-`,
    '',
  ].join('\n');
}

test(
  'a crash in any step of a move of TLS sends nothing wrong to anybody, and the survivor serves',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const pem = pemFiles(t);
    const server = await openStreamServer();
    t.after(() => server.close());
    const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
    await grace.ok('start', src, `tcp:127.0.0.1:${(server.address as { port: number }).port}`);
    const port = await grace.port(src);
    const [file, spec] = ['wrapper', 'spec.json'].map((name) => join(dirname(grace.dir), name)) as [string, string];
    writeFileSync(file, wrapper(spec), { mode: 0o755 });
    let id = 0;
    const open = async (cipher: string): Promise<Stream> => {
      const maxVersion = cipher.startsWith('TLS_') ? 'TLSv1.3' : 'TLSv1.2';
      const tls = { ciphers: cipher, maxVersion, rejectUnauthorized: false } as const;
      const stream = await openStream({ host: '127.0.0.1', port }, { id: ++id, piece: 5000, pauseMs: 1, tls });
      // Not within its 'data' event: Node's TLS reads nothing more once an end was asked for there.
      await until('bytes of the server', () => stream.received > 0);
      return stream;
    };
    for (const [word, victim, isPassed, fate] of steps.slice(0, usual)) {
      const what = `the ${victim} one killed ${isPassed ? 'after' : 'before'} "${word}"`;
      const streams = await Promise.all(ciphers.map(open));
      const { pid } = await grace.status();
      const killing: Killing = { word, victim: victim === 'old' ? pid : 'successor', isPassed };
      writeFileSync(spec, JSON.stringify(killing));
      const { code, stderr } = await grace.run('restart', '--exec', file);
      await until(`${what}: a daemon answers`, async () => (await grace.run('status')).code === 0);
      const isOver = ({ socket }: Stream) => socket.destroyed || socket.readableEnded;
      const before = streams.map(({ received }) => received);
      await until(`${what}: each goes on or is over`, () =>
        streams.every((stream, index) => isOver(stream) || stream.received > before[index]! + 20_000),
      );
      const lost = streams.filter(isOver).length;
      const results = await Promise.all(streams.map((stream) => stream.finish()));
      const problems = results.flatMap(({ problem }) => problem ?? []);
      t.diagnostic(`${what}: restart exits with ${code}, ${lost} of ${streams.length} lost ${problems.join(', ')}`);
      for (const problem of problems) assert.doesNotMatch(problem, /wrong byte|ssl|mac|decrypt|alert/i, what);
      assert.equal(
        fate === 'live' ? problems.length : 0,
        0,
        `${what}: ${problems.join(', ')}: ${stderr}${grace.log().slice(-2000)}`,
      );
      // Whoever lives serves.
      const fresh = await open(ciphers[0]!);
      const { problem } = await fresh.finish();
      assert.equal(problem, null, `${what}: ${problem}: ${grace.log()}`);
    }
  },
);
