/** The clock of the wall is set while a daemon runs, by years and either way: nothing but what it shows of dates may change. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const [library] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1');
const skip =
  runtime !== 'executable' || process.platform !== 'linux'
    ? 'the executable on Linux'
    : library === undefined && 'libfaketime is not here';
const timeout = 120_000;

/** A grace whose wall clock can be set. The clock that durations are measured by goes on, as it does on a machine: libfaketime would turn it back too. */
function makeGraceWithClock(t: TestContext) {
  const file = `${makeGrace(t).dir}-clock`;
  const set = (by: string) => writeFileSync(file, `${by}\n`);
  set('+0');
  const env = { FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  return { grace: makeGrace(t, { ...env, LD_PRELOAD: library }), set };
}

for (const engine of ['native', 'portable'])
  test(
    `a clock that jumps by 20 years, either way, changes dates and no time (${engine})`,
    { timeout, skip },
    async (t) => {
      const { grace, set } = makeGraceWithClock(t);
      const files = pemFiles(t);
      const backend = await startBackend(t, 'A');
      const access = `${grace.dir}-access`;
      const options = ['--access-log', access, '--access-log-format', 'json', '--engine', engine, '--no-keeper'];
      const sources = {
        plain: 'tcp:0:interface=127.0.0.1',
        idle: 'tcp:0:interface=127.0.0.1:idle=1500ms',
        lifetime: 'tcp:0:interface=127.0.0.1:lifetime=3s',
        rate: 'tcp:0:interface=127.0.0.1:ratePer=2/h',
        secret: `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`,
      };
      const rules = Object.values(sources).map((src) => `${src}=${backend.endpoint}`);
      const daemon = grace.spawn('daemon', ...options, ...rules);
      await until('it serves', () => grace.log().includes('serving'));
      const rows = await grace.ls();
      const portOf = (name: keyof typeof sources) =>
        Number(/[0-9]+$/.exec(rows.find(({ src }) => src === sources[name])!.listening)![0]);
      const open = async (name: keyof typeof sources) => {
        const client = await openClient(t, { port: portOf(name) });
        assert.equal(await client.line(), 'A');
        return client;
      };
      const closed = (client: Awaited<ReturnType<typeof open>>) =>
        new Promise<number>((resolve) => client.socket.once('close', () => resolve(performance.now())));

      const beganMs = performance.now();
      const [kept, busy, timed] = [await open('plain'), await open('idle'), await open('lifetime')];
      for (const client of [await open('rate'), await open('rate')]) client.socket.destroy();
      const [whenBusy, whenTimed] = [closed(busy), closed(timed)];
      for (const by of ['+20y', '-20y']) {
        set(by);
        assert.equal(await kept.echo('still there'), 'still there');
        assert.equal(await busy.echo('not idle'), 'not idle');
        assert.equal(await timed.echo('not old'), 'not old');
      }
      const quietMs = performance.now();
      await assert.rejects(open('rate'), 'a rate is by the hour that passes');
      const secret = connectTls({ port: portOf('secret'), host: '127.0.0.1', rejectUnauthorized: false });
      t.after(() => secret.destroy());
      await once(secret, 'data');
      secret.destroy();
      const idleFor = (await whenBusy) - quietMs;
      assert.ok(idleFor >= 1400, `an idle time of 1.5 s took ${idleFor} ms`);
      const lasted = (await whenTimed) - beganMs;
      assert.ok(lasted >= 2600, `a lifetime of 3 s took ${lasted} ms`);

      set('+20y');
      const waitsMs = performance.now();
      await grace.ok('switch', sources.plain, backend.endpoint.replace('127.0.0.1', 'localhost'));
      assert.equal((await grace.run('wait', '--timeout', '1s')).code, 124);
      assert.ok(performance.now() - waitsMs >= 1000);
      await grace.ok('restart');
      assert.equal(await kept.echo('moved'), 'moved');
      set('-20y');
      const [connection] = await grace.connections();
      assert.ok(connection!.age >= 2.6 && connection!.age < 300, `${connection!.age}`);
      const { uptimeMs } = await grace.status();
      assert.ok(uptimeMs >= 2600 && uptimeMs < 300_000, `${uptimeMs}`);
      await kept.end();
      const lines = () =>
        (existsSync(access) ? readFileSync(access, 'utf8').trim().split('\n') : []).map(
          (line) => JSON.parse(line) as { time: string; durationMs: number; reason: string },
        );
      await until('all ends are written down', () => lines().length >= 6);
      for (const { durationMs } of lines()) assert.ok(durationMs >= 0 && durationMs < 300_000, `${durationMs} ms`);
      const reasons = lines().map(({ reason }) => reason);
      for (const reason of ['idle', 'lifetime', 'finished']) assert.ok(reasons.includes(reason), reason);
      // Dates are those of the clock as it is set at the moment.
      const date = new Date();
      assert.equal(new Date(lines().at(-1)!.time).getFullYear(), date.getFullYear() - 20);
      assert.match(grace.log(), new RegExp(`^\\[${date.getFullYear() + 20}-`, 'm'));
      await grace.ok('stop', '--now');
      await daemon.ended;
    },
  );
