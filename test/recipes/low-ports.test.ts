import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openClient, startBackend } from '../e2e/backend.ts';
import { ownLoopback } from '../e2e/grace.ts';
import { until } from '../until.ts';
import { blocksOf, makePlace, openShell } from './recipe.ts';

const nobody = { uid: 65534, by: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] };
/** There is no sudo where everything is root's. */
const sudo = 'sudo() { "$@"; }';

function obstacle(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it takes root on Linux to give rights';
  if (spawnSync('setcap', ['-h']).error || spawnSync('setpriv', ['--version']).error)
    return 'it needs setcap (libcap2-bin) and setpriv (util-linux)';
  if (Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8')) <= 80)
    return 'anybody may listen on low ports here';
  return false;
}

test(
  'the recipe for low ports: an unprivileged user starts, restarts and has a crash mended, with setcap and with an ambient capability',
  { timeout: 120_000, skip: obstacle() },
  async (t) => {
    const backend = await startBackend(t, 'hello');
    const { env, grace } = makePlace(t, nobody);
    const shared = { ...env, GRACE: grace, HOST: ownLoopback, DST: backend.endpoint, RUN_AS: 'nobody' };
    const [give = '', use = '', ambient = '', ...more] = blocksOf('Ports below 1024 without root');
    assert.deepEqual(more, []);
    const greeting = async (port: number) => {
      const client = await openClient(t, { host: ownLoopback, port });
      const line = await client.line();
      await client.end();
      return line;
    };
    const asRoot = openShell(t, { env: shared });
    const asUser = openShell(t, { env: shared, by: nobody.by });
    await asRoot.run(sudo);

    const without = await asUser.attempt(`${use.split('\n')[0]}\n${use.split('\n')[1]} 2>&1`);
    assert.deepEqual([without.code, /permission denied \(EACCES\)/.test(without.stdout)], [1, true]);

    const given = await asRoot.attempt(give);
    if (given.code !== 0) return t.skip('the file system of temporary files takes no capabilities');
    assert.match(execFileSync('getcap', [grace], { encoding: 'utf8' }), /cap_net_bind_service=ep/);
    assert.match(await asUser.run(use), /^Started\nRestarted: .*\n(Moved .*\n)?Started\n$/);
    assert.deepEqual([await greeting(80), await greeting(443)], ['hello', 'hello']);
    const status = async () => JSON.parse(await asUser.run('grace status --json'));
    const { pid, engine, keeper, problems } = await status();
    assert.deepEqual([engine, problems], ['native', []]);
    assert.match(readFileSync(`/proc/${keeper.pid}/status`, 'utf8'), /^Uid:\t65534\t/m);
    process.kill(pid, 'SIGKILL');
    assert.equal(await greeting(80), 'hello');
    await until('another daemon serves', async () => (await status()).pid !== pid);
    assert.equal(await greeting(443), 'hello');
    // A new file has no rights, until it is given them.
    await asRoot.run('cp "$GRACE" "$GRACE.new"; mv "$GRACE.new" "$GRACE"');
    await asUser.run('grace restart');
    assert.equal(await greeting(80), 'hello');
    const another = 'grace start "tcp:81:interface=$HOST" "$DST"';
    assert.equal((await asUser.attempt(`${another} 2>/dev/null`)).code, 1);
    await asRoot.run(give);
    assert.match(await asUser.run(`grace restart; ${another}`), /^Restarted: .*\n(Moved .*\n)?Started\n$/);
    await asUser.run('grace stop --now');

    await asRoot.run(`setcap -r "$GRACE"; rm -r "$GRACE_DIR"`);
    assert.equal(await asRoot.run(ambient), 'Started\n');
    assert.equal(await greeting(25), 'hello');
    assert.match(await asUser.run('grace restart'), /^Restarted/);
    assert.equal(await greeting(25), 'hello');
    const successor = (await status()).pid;
    assert.match(readFileSync(`/proc/${successor}/status`, 'utf8'), /^Uid:\t65534\t.*^CapAmb:\t0*400$/ms);
    await asUser.run('grace stop --now');
  },
);
