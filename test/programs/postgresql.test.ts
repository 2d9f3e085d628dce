import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import type { Forward } from './forward.ts';
import { makeDirectory, missing, openSession, run, secondLoopback } from './program.ts';
import { pemFiles } from '../e2e/pem-files.ts';

const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
const bin = join('/usr/lib/postgresql', versions.sort((a, b) => Number(b) - Number(a))[0] ?? 'none', 'bin');
/** PostgreSQL refuses to be root. */
const user = process.getuid?.() === 0 ? 'postgres' : null;
const skip = missing([`${bin}/initdb --version && ${bin}/pgbench --version && id ${user ?? ''}`, 'postgresql']);
const options = { timeout: 240_000, skip };

type Cluster = { port: number; pgCtl: string[]; root: string; unix: string };

/** A server with TLS at two addresses and a Unix socket, filled by pgbench. */
async function startCluster(t: TestContext): Promise<Cluster> {
  const pem = pemFiles(t);
  let stop = (): Promise<unknown> => Promise.resolve();
  t.after(() => stop());
  const [dir, port] = [makeDirectory(t), await freePort()];
  const [data, key] = [join(dir, 'data'), join(dir, 'server.key')];
  copyFileSync(pem.key, key);
  chmodSync(key, 0o600);
  copyFileSync(pem.fullChain, join(dir, 'server.crt'));
  if (user !== null) {
    const uid = Number(execFileSync('id', ['-u', user]));
    for (const file of [dir, key]) chownSync(file, uid, uid);
  }
  const by = user === null ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups'];
  const as = (command: string, ...args: string[]) => [...by, join(bin, command), ...args];
  const exec = ([file, ...args]: string[]) => run(file!, args);
  await exec(as('initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '--no-instructions'));
  const settings = {
    listen_addresses: `${ownLoopback},${secondLoopback}`,
    port,
    unix_socket_directories: dir,
    fsync: 'off',
    ssl: 'on',
    ssl_key_file: key,
    ssl_cert_file: join(dir, 'server.crt'),
  };
  const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const pgCtl = as('pg_ctl', '-D', data, '-w', '-s', '-l', join(dir, 'log'), '-o', flags.join(' '), '-m', 'fast');
  await exec([...pgCtl, 'start']);
  stop = () => exec([...pgCtl.map((word) => (word === 'fast' ? 'immediate' : word)), 'stop']);
  await run(join(bin, 'pgbench'), ['-h', ownLoopback, '-p', `${port}`, '-U', 'postgres', '-i', '-q', 'postgres']);
  return { port, pgCtl, root: pem.root, unix: `unix:${join(dir, `.s.PGSQL.${port}`)}` };
}

/** Clients through the forward; `tls` is the root that they check the server's certificate with. */
function clientsOf(t: TestContext, { port }: Forward, tls: string | null) {
  const env = {
    PGHOST: '127.0.0.1',
    PGPORT: `${port}`,
    PGUSER: 'postgres',
    PGDATABASE: 'postgres',
    PGGSSENCMODE: 'disable',
    ...(tls === null ? { PGSSLMODE: 'disable' } : { PGSSLMODE: 'verify-full', PGSSLROOTCERT: tls }),
  };
  const query = "select 'tls ' || ssl from pg_stat_ssl where pid = pg_backend_pid()";
  const psql = openSession(t, join(bin, 'psql'), ['-XqAt'], env);
  let backend = '';
  return {
    psql,
    /** It is the same session to PostgreSQL, with what it has open there. */
    session: async () => {
      const answer = await psql.ask('select pg_backend_pid();');
      backend ||= answer;
      assert.equal(answer, backend);
    },
    newcomer: async () =>
      assert.equal(await run(join(bin, 'psql'), ['-XqAtc', query], { env }), `tls ${tls !== null}\n`),
    /** So many transactions of each of four clients; with `-C` each has a connection of its own, which its thread waits for. */
    pgbench: async (transactions: number, ...more: string[]) => {
      const text = await run(join(bin, 'pgbench'), ['-n', '-c', '4', '-j', '4', '-t', `${transactions}`, ...more], {
        env,
      });
      const all = 4 * transactions;
      assert.match(text, new RegExp(`^number of transactions actually processed: ${all}/${all}$`, 'm'));
      assert.match(text, /^number of failed transactions: 0 /m);
    },
  };
}

test('PostgreSQL', options, async (t) => {
  const { port, root, unix, pgCtl } = await startCluster(t);
  const first = `tcp:${ownLoopback}:${port}`;
  for (const tls of [null, root])
    await t.test(
      `pgbench and psql${tls ? ' with the TLS of PostgreSQL' : ''} notice nothing; a crash refuses nobody`,
      async (t) => {
        // PostgreSQL has no TLS on a Unix socket.
        const forward = await startForward(t, { ways: [first, tls === null ? unix : `tcp:${secondLoopback}:${port}`] });
        const { session, newcomer, pgbench, psql } = clientsOf(t, forward, tls);
        const rounds = await meanwhile(
          () => Promise.all([pgbench(100), pgbench(10, '-C')]),
          disturb(forward, { session, newcomer }),
        );
        t.diagnostic(`${rounds} rounds of 440 transactions`);
        await crash(forward, newcomer);
        // What it is told is what the documents say: its connection is lost.
        psql.child.stdin.write('select 1;\n');
        assert.match(await psql.ended, /server closed the connection unexpectedly|SSL SYSCALL error: EOF detected/);
      },
    );

  await t.test(
    'it is restarted behind a hold, and clients that connect for each transaction get no error',
    async (t) => {
      const forward = await startForward(t, { ways: [first, unix] });
      const { psql, pgbench } = clientsOf(t, forward, null);
      await psql.end();
      const restart = async () => {
        for (let round = 0; round < 2; round++)
          await forward.grace.ok('hold', forward.src, '--timeout', '60s', '--drain', '30s', '--', ...pgCtl, 'restart');
      };
      const rounds = await meanwhile(() => pgbench(20, '-C'), restart());
      t.diagnostic(`2 restarts during ${rounds} rounds of 80 transactions`);
    },
  );
});
