import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { blocksOf, makePlace, openShell } from './recipe.ts';

/** PostgreSQL refuses to be root. */
const user = process.getuid?.() === 0 ? 'postgres' : null;

function obstacle(): string | false {
  if (process.platform !== 'linux') return 'it is written for Debian';
  let versions: string[] = [];
  try {
    versions = readdirSync('/usr/lib/postgresql');
  } catch {
    // It is not installed.
  }
  if (
    !versions.some((version) =>
      ['initdb', 'pgbench'].every(
        (name) => spawnSync(join('/usr/lib/postgresql', version, 'bin', name), ['--version']).status === 0,
      ),
    )
  )
    return 'it needs the package postgresql';
  return user !== null && spawnSync('id', [user]).status !== 0 ? `there is no user ${user}` : false;
}

test(
  'the recipe for PostgreSQL: what was committed before the failover is there after it',
  { timeout: 120_000, skip: obstacle() },
  async (t) => {
    const uid = user === null ? process.getuid!() : Number(execFileSync('id', ['-u', user], { encoding: 'utf8' }));
    const by = user === null ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups'];
    const { env, home } = makePlace(t, { uid });
    const shell = openShell(t, {
      env: { ...env, HOST: ownLoopback, DATA: join(home, 'pg'), LC_ALL: 'C.UTF-8' },
      by,
      cwd: home,
    });
    const [make = '', start = '', failover = '', ...more] = blocksOf('PostgreSQL failover');
    assert.deepEqual(more, []);
    try {
      await shell.run(make);
      assert.match(await shell.run(start), /^Started\n[^]*number of transactions actually processed: 200\/200\n/);
      const done = await shell.run(failover);
      assert.match(done, /^Switched$/m);
      assert.match(done, /number of transactions actually processed: 200\/200\n/);
      const ask = (query: string) => shell.run(`"$PGBIN/psql" -h "$HOST" -p "$DB" -tAc '${query}' postgres`);
      assert.equal(await ask('select count(*) from pgbench_history'), '400\n');
      assert.equal(await ask('select pg_is_in_recovery()'), 'f\n');
      assert.match(await shell.run('grace ls db'), /:5434 +0 +active +db$/m);
    } finally {
      await shell
        .run('for one in a b; do "$PGBIN/pg_ctl" -D "$DATA/$one" -m immediate -w stop >/dev/null 2>&1 || true; done')
        .catch(() => {});
    }
  },
);
