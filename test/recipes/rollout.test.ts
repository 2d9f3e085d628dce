import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { bundle, hostTarget, makeExecutable } from '../../scripts/build.ts';
import { ownLoopback, program, runtime } from '../e2e/grace.ts';
import { blocksOf, makePlace, openShell } from './recipe.ts';

/** Each forwards the port in its name. */
const machines = ['m8081', 'm8082', 'm8083'] as const;

/** Requests one after the other, each with a connection of its own, until it is told to stop. */
function startLoad(t: TestContext, port: string) {
  const seen = { answers: 0, failures: [] as string[] };
  const over = new AbortController();
  const ended = (async () => {
    while (!over.signal.aborted) {
      try {
        const response = await fetch(`http://${ownLoopback}:${port}/`, { headers: { connection: 'close' } });
        await response.text();
        seen.answers++;
      } catch (error) {
        seen.failures.push(String((error as Error).cause ?? error));
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  t.after(() => over.abort());
  return { seen, stop: () => (over.abort(), ended) };
}

test(
  'the recipe for many machines: one that does not serve after its upgrade ends the rollout, which goes on when it is mended',
  {
    timeout: 300_000,
    skip:
      process.platform !== 'linux' || runtime !== 'executable'
        ? 'it upgrades the executable for Linux'
        : spawnSync('curl', ['--version']).error
          ? 'it needs curl'
          : false,
  },
  async (t) => {
    const backend = createServer((_, response) => response.end('hello\n')).listen(0, '127.0.0.1');
    await once(backend, 'listening');
    t.after(() => void backend.close());
    const { port } = backend.address() as AddressInfo;

    const { env, path } = makePlace(t);
    const newest = join(path, 'grace-0.2.0');
    await bundle(join(path, 'grace.cjs'), { version: '0.2.0' });
    await makeExecutable({ target: hostTarget(), bundleFile: join(path, 'grace.cjs'), outfile: newest });

    const onEach = join(import.meta.dirname, 'fixtures/on.sh');
    const shell = openShell(t, {
      env: {
        ...env,
        MACHINES: path,
        ON: onEach,
        GRACE: 'grace',
        LOOKS: '1',
        CHECK: `curl -fsS -m 20 -o /dev/null "http://${ownLoopback}:\${1#m}/up"`,
        // What a package manager does, and on one machine something else as well.
        UPGRADE:
          `cp "$MACHINES/grace-0.2.0" "$MACHINES/new" && mv "$MACHINES/new" "$(command -v grace)" && grace restart --timeout 100s &&
          case $GRACE_DIR in *m8082*) grace switch web 127.0.0.1:1 --no-check ;; esac`.replace(/\n +/, ' '),
      },
    });
    const [settings = '', dryRun = '', roll = '', ...more] = blocksOf('A new version on many machines');
    assert.deepEqual(more, []);
    const attempt = (block: string) =>
      shell.attempt(`{ ${block.trim().replaceAll('web1 web2 web3', machines.join(' '))}; } 2>&1`);
    await shell.run(settings);
    const ask = (name: string, command: string) => shell.run(`${onEach} ${name} '${command}'`);
    try {
      for (const name of machines) {
        mkdirSync(join(path, name, 'bin'), { recursive: true });
        copyFileSync(program[0], join(path, name, 'bin/grace'));
        await ask(name, `grace start --name web ${ownLoopback}:${name.slice(1)} 127.0.0.1:${port}`);
      }
      const [before] = /(?<=^grace )\S+/m.exec(await ask('m8081', 'grace --version')) ?? [];
      const loads = machines.map((name) => startLoad(t, name.slice(1)));

      renameSync(join(path, 'm8083'), join(path, 'away'));
      const missing = await attempt(roll);
      assert.equal(missing.code, 1);
      assert.match(
        missing.stdout,
        /^upgrade-all\.sh: m8083: is not well: on\.sh: no machine m8083\nhint: nothing was begun/m,
      );
      renameSync(join(path, 'away'), join(path, 'm8083'));
      const ready = join(path, 'm8081/state/ready');
      writeFileSync(ready, '0\n'); // as grace does before it stops
      const leaving = await attempt(dryRun);
      assert.equal(leaving.code, 1);
      assert.match(leaving.stdout, /^upgrade-all\.sh: m8081: is not to get connections: \S+ready says 0$/m);
      writeFileSync(ready, '50\n');

      assert.deepEqual(await attempt(dryRun), {
        code: 0,
        stdout: machines.map((name) => `${name}: ${before} -> 0.2.0\n`).join(''),
      });

      const stopped = await attempt(roll);
      assert.equal(stopped.code, 1, stopped.stdout);
      assert.match(stopped.stdout, new RegExp(`^m8081: ${before} -> 0\\.2\\.0$`, 'm'));
      assert.match(
        stopped.stdout,
        new RegExp(
          `^upgrade-all\\.sh: m8082: connections do not go through: curl: .*\n` +
            `of version 0\\.2\\.0: m8081; not touched: m8083\n` +
            `hint: back to the version before, on m8082: grace upgrade --to ${before}; `,
          'm',
        ),
      );
      assert.match(await ask('m8083', 'grace status'), new RegExp(`^version +${before}$`, 'm'));

      // Mended; and on the last one somebody has put the file in place, and no more.
      await ask('m8082', `grace switch web 127.0.0.1:${port}`);
      copyFileSync(newest, join(path, 'new'));
      renameSync(join(path, 'new'), join(path, 'm8083/bin/grace'));
      const finished = await attempt(roll);
      assert.equal(finished.code, 0, finished.stdout);
      assert.match(
        finished.stdout,
        new RegExp(`^m8081: has 0\\.2\\.0\nm8082: has 0\\.2\\.0\nRestarted: [^]*\nm8083: ${before} -> 0\\.2\\.0\n$`),
      );
      await Promise.all(loads.map((load) => load.stop()));
      const [first, second, third] = loads.map((load) => load.seen);
      assert.deepEqual([first!.failures, third!.failures], [[], []]);
      t.diagnostic(
        `${loads.map((load) => load.seen.answers).join(', ')} answers; ${second!.failures.length} failures of m8082`,
      );
    } finally {
      for (const name of machines) await ask(name, 'grace stop --now').catch(() => {});
    }
  },
);
