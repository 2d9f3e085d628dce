/** A restart by two processes between which one line is spoilt: the new one serves, or the old one does as before. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { alwaysInTime, hostileJson, timeout } from '../hostile.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import type { Spoiling } from './fixtures/spoil-lines.ts';
import { makeGrace, program, root } from './grace.ts';

const spoiling: fc.Arbitrary<Spoiling> = fc.record({
  way: fc.constantFrom('in', 'out'),
  line: fc.nat({ max: 3 }),
  how: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('replace' as const) },
    { weight: 3, arbitrary: fc.constantFrom('remove', 'drop', 'twice', 'cut', 'noise', 'end') },
  ),
  at: fc.nat(),
  put: hostileJson,
});

/** Runs grace in its own place, with a spoiler on its standard input and output that holds none of its descriptors. */
function wrapper(spec: string): string {
  const shell = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  const spoiler = [process.execPath, join(root, 'test/e2e/fixtures/spoil-lines.ts')].map(shell).join(' ');
  return [
    '#!/bin/bash',
    'exec 40<&0 41>&1',
    'spoil() { for fd in {3..39}; do eval "exec $fd<&-"; done; exec 40<&- 41>&-; exec ' +
      `${spoiler} "$1" ${shell(spec)}; }`,
    `exec ${program.map(shell).join(' ')} "$@" < <(exec <&40; spoil in) > >(exec >&41; spoil out) 40<&- 41>&-`,
    '',
  ].join('\n');
}

test(
  'whatever two processes say to each other at a restart, one of them serves, and the rules are there',
  { timeout: timeout * 3, skip: process.platform !== 'linux' ? 'the wrapper is for Linux' : false },
  async (t) => {
    const backend = await startBackend(t, 'backend');
    const grace = makeGrace(t);
    const [file, spec] = ['wrapper', 'spec.json'].map((name) => join(dirname(grace.dir), name)) as [string, string];
    writeFileSync(file, wrapper(spec), { mode: 0o755 });
    const path = join(dirname(grace.dir), 'app.sock');
    const src = `unix:${path}`;
    let [count, restarted] = [0, 0];
    const attempt = async (how: Spoiling) => {
      writeFileSync(spec, JSON.stringify(how));
      await grace.ok('start', '--switch', '--no-check', src, backend.endpoint);
      const client = await openClient(t, { path });
      assert.equal(await client.line(), 'backend');
      const before = await grace.ls();
      const { code, stdout, stderr } = await grace.run('restart', '--exec', file, '--timeout', '6s');
      const told = `${JSON.stringify(how)}: exit ${code}: ${stdout}${stderr}\n${grace.log().slice(-3000)}`;
      count++;
      if (code === 0) restarted++;
      assert.ok(code === 0 || code === 1, told);
      assert.doesNotMatch(stderr + grace.log(), /mistake in grace|internal error|^ {4}at |"stack"/m, told);
      if (code === 1) assert.match(stderr, /^grace: [^\n]+\n(hint: [^\n]+\n)?$/, told);
      await until(`a daemon answers: ${told}`, async () => (await grace.run('status')).code === 0);
      const after = await grace.ls();
      // What was handed over wrongly may be another destination; the rule is there.
      if (code === 1)
        assert.deepEqual(
          after.map((row) => [row.src, row.dst, row.pid]),
          before.map((row) => [row.src, row.dst, row.pid]),
          told,
        );
      if (code === 1) {
        assert.equal(await client.echo('still'), 'still', told);
        assert.equal(await (await openClient(t, { path })).line(), 'backend', told);
      }
      client.socket.destroy();
      return code;
    };
    // Through a wrapper that spoils nothing everything goes on, or what follows would say nothing.
    assert.equal(await attempt({ way: 'in', line: 99, how: 'drop', at: 0, put: null }), 0);
    await alwaysInTime(4, spoiling, async (how) => void (await attempt(how)));
    t.diagnostic(`${restarted} of ${count} restarts came to their end`);
  },
);
