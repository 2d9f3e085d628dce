/** grace under the init systems and supervisors that this machine has: each is skipped where it is missing. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ConnectingClients, startGreeter } from './connecting-clients.ts';
import { makeGrace, program, root, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { descriptorsOf, gone, kill, pidInFile, processesOf, zombiesOf } from './processes.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';
const isRoot = process.getuid?.() === 0;
const script = (name: string) => join(root, 'scripts/init', name);

function findProgram(name: string): string | null {
  for (const dir of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']) {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return join(dir, name);
    } catch {
      // Not in this one.
    }
  }
  return null;
}

/** Why a test cannot run here, or false. */
function missing({
  programs,
  root: needsRoot = false,
}: {
  programs: readonly string[];
  root?: boolean;
}): string | false {
  if (runtime === 'deno') return 'the scripts are for the executable';
  if (needsRoot && !isRoot) return 'only root can do this';
  const absent = programs.filter((name) => findProgram(name) === null);
  return absent.length > 0 && `not installed: ${absent.join(', ')}`;
}

type Installed = {
  grace: Grace;
  /** The program as one file. */ executable: string;
  scratch: string;
  pidFile: () => number | null;
};

function install(t: TestContext): Installed {
  const scratch = mkdtempSync(join(tmpdir(), 'grace-init-'));
  t.after(() => rmSync(scratch, { recursive: true, force: true }));
  const grace = makeGrace(t);
  const [file, ...before] = program;
  let executable: string = file;
  if (before.length > 0) {
    executable = join(scratch, 'grace');
    writeFileSync(executable, `#!/bin/sh\nexec ${program.join(' ')} "$@"\n`);
    chmodSync(executable, 0o755);
  }
  return { grace, executable, scratch, pidFile: () => pidInFile(join(grace.dir, 'grace.pid')) };
}

type Outcome = { code: number | null; text: string };

/** Runs a command and writes it and its output into the transcript. */
function runner(t: TestContext, env: NodeJS.ProcessEnv = {}) {
  return (file: string, ...args: string[]): Promise<Outcome> =>
    new Promise((resolve) => {
      const child = execFile(file, args, { env: { ...process.env, ...env } }, (_, stdout, stderr) => {
        const outcome = { code: child.exitCode, text: `${stdout}${stderr}`.trim() };
        t.diagnostic(`${[file, ...args].join(' ')} -> ${outcome.code}: ${outcome.text}`);
        resolve(outcome);
      });
    });
}

/** One rule, to a server that greets, and clients that connect to it. */
async function serveOn({ grace }: Installed, t: TestContext): Promise<ConnectingClients> {
  const greeter = await startGreeter();
  t.after(() => greeter.server.close());
  await grace.ok('start', src, `tcp:127.0.0.1:${greeter.port}`);
  const clients = new ConnectingClients(await grace.port(src), { count: 2 });
  t.after(() => clients.stop());
  await clients.served(5);
  return clients;
}

/** What any supervisor must see: one pid, whatever happens to the daemon, and nobody refused. */
async function keepsOnePid(t: TestContext, installed: Installed, supervisedPid: () => Promise<number>): Promise<void> {
  const { grace } = installed;
  const clients = await serveOn(installed, t);
  const pid = await supervisedPid();
  assert.equal(installed.pidFile(), pid);
  for (const happen of [() => grace.ok('restart'), async () => kill((await grace.status()).pid)]) {
    const { pid: before } = await grace.status();
    await happen();
    await clients.served(5);
    assert.notEqual((await grace.status()).pid, before);
    assert.equal(installed.pidFile(), pid);
  }
  assert.equal(await supervisedPid(), pid);
  const { refused } = await clients.stop();
  assert.equal(refused, 0);
}

test(
  'SysV: start, status, restart, reload, force-restart and stop, with the exit codes of the LSB',
  { timeout, skip: missing({ programs: ['start-stop-daemon'], root: true }) },
  async (t) => {
    const installed = install(t);
    const { grace, executable, scratch, pidFile } = installed;
    const defaults = join(scratch, 'default');
    writeFileSync(defaults, `GRACE=${executable}\nGRACE_DIR=${grace.dir}\nGRACE_ARGS="--log-format json"\n`);
    const run = runner(t, { GRACE_DEFAULTS_FILE: defaults });
    const service = (action: string) => run(script('grace.sysv'), action);

    assert.equal((await service('status')).code, 3);
    assert.equal((await service('stop')).code, 0);
    assert.equal((await service('reload')).code, 7);
    assert.equal((await service('frobnicate')).code, 2);
    assert.equal((await service('start')).code, 0);
    assert.equal((await service('start')).code, 0);
    assert.equal((await service('status')).code, 0);
    const keeper = pidFile();
    const clients = await serveOn(installed, t);
    const { pid } = await grace.status();
    assert.match((await service('restart')).text, /^Restarted: pid/);
    assert.notEqual((await grace.status()).pid, pid);
    assert.equal(pidFile(), keeper);
    await clients.served(5);
    const log = join(grace.dir, 'grace.log');
    rmSync(log);
    assert.equal((await service('reload')).code, 0);
    await until('the log is there again', () => existsSync(log) && readFileSync(log, 'utf8').includes('log reopened'));
    await clients.served(5);
    assert.deepEqual(await clients.stop().then(({ refused, cut }) => [refused, cut]), [0, 0]);
    assert.equal((await service('force-restart')).code, 0);
    assert.notEqual(pidFile(), keeper);
    assert.equal((await grace.ls()).length, 1);
    const { pid: last, keeper: lastKeeper } = await grace.status();
    assert.ok(lastKeeper);
    await kill(lastKeeper.pid);
    await kill(last);
    assert.equal((await service('status')).code, 1);
    assert.equal((await service('restart')).code, 0);
    assert.equal((await service('stop')).code, 0);
    assert.deepEqual(processesOf(grace.dir), []);
    assert.equal((await service('status')).code, 3);
  },
);

test(
  'SysV: a daemon that does not answer is not said to be stopped, nor signalled by a pid that is another program',
  { timeout, skip: missing({ programs: ['start-stop-daemon'], root: true }) },
  async (t) => {
    const { grace, executable, scratch } = install(t);
    const defaults = join(scratch, 'default');
    writeFileSync(defaults, `GRACE=${executable}\nGRACE_DIR=${grace.dir}\nGRACE_STOP_SECONDS=1\n`);
    const run = runner(t, { GRACE_DEFAULTS_FILE: defaults });
    const service = (action: string) => run(script('grace.sysv'), action);
    assert.equal((await service('start')).code, 0);
    const { pid, keeper } = await grace.status();
    process.kill(pid, 'SIGSTOP');
    t.after(() => kill(pid));
    const [started, pidFile] = [await service('start'), join(grace.dir, 'grace.pid')];
    assert.equal(started.code, 1);
    assert.match(started.text, /does not answer/);
    const other = spawn('sleep', ['600']);
    t.after(() => other.kill('SIGKILL'));
    writeFileSync(pidFile, `${other.pid}\n`);
    assert.equal((await service('stop')).code, 1);
    assert.equal(other.exitCode ?? other.signalCode, null);
    writeFileSync(pidFile, `${keeper!.pid}\n`);
    const stopped = await service('stop');
    assert.equal(stopped.code, 1);
    assert.match(stopped.text, /goes on/);
    await kill(pid);
    assert.equal((await service('stop')).code, 0);
  },
);

test(
  'OpenRC: start, restart without another pid, reload and stop, also when the keeper was killed',
  { timeout, skip: missing({ programs: ['openrc-run', 'unshare'], root: true }) },
  async (t) => {
    const installed = install(t);
    const { grace, executable, scratch, pidFile } = installed;
    // In a view of the file system of its own, with an OpenRC that has booted.
    const boot =
      'mount -t tmpfs none /run && (cd /run && mkdir -p $(printf "openrc/%s " starting started stopping inactive wasinactive failed hotplugged daemons options exclusive scheduled init.d tmp)) && echo default >/run/openrc/softlevel && mount --bind "$1" /etc/init.d && shift && exec "$@"';
    const initDir = join(scratch, 'init.d');
    mkdirSync(initDir);
    // What conf.d would say.
    const settings = `grace_dir="${grace.dir}"\ngrace_command="${executable}"\n`;
    writeFileSync(join(initDir, 'grace'), readFileSync(script('grace.openrc'), 'utf8').replace('\n', `\n${settings}`), {
      mode: 0o755,
    });
    const steps = join(scratch, 'steps');
    writeFileSync(
      steps,
      `set -e
    # What it needs is of the machine, and up.
    for action in start status; do /etc/init.d/grace --nodeps $action; done
    mark() { cat /run/grace.pid >>"${scratch}/pids"; }
    mark
    "${executable}" -d "${grace.dir}" status --json >"${scratch}/before"
    /etc/init.d/grace --nodeps restart
    mark
    "${executable}" -d "${grace.dir}" status --json >"${scratch}/after"
    rm "${grace.dir}/grace.log"
    /etc/init.d/grace --nodeps reload
    until test -s "${grace.dir}/grace.log"; do sleep 0.01; done
    kill -9 "$(cat /run/grace.pid)"
    until "${executable}" -d "${grace.dir}" status | grep -q 'keeper *none'; do sleep 0.1; done
    rm "${grace.dir}/grace.log"
    /etc/init.d/grace --nodeps reload
    until test -s "${grace.dir}/grace.log"; do sleep 0.01; done
    /etc/init.d/grace --nodeps stop
    test ! -e "${grace.dir}/grace.pid"`,
    );
    const { code } = await runner(t)('unshare', '--mount', 'sh', '-c', boot, 'sh', initDir, 'sh', steps);
    assert.equal(code, 0);
    const [first, second] = readFileSync(join(scratch, 'pids'), 'utf8').trim().split('\n');
    assert.equal(first, second);
    const [before, after] = ['before', 'after'].map((name) => JSON.parse(readFileSync(join(scratch, name), 'utf8')));
    assert.equal(before.keeper.pid, Number(first));
    assert.notEqual(before.pid, after.pid);
    assert.equal(pidFile(), null);
    assert.deepEqual(processesOf(grace.dir), []);
  },
);

test(
  'logrotate rotates the log, and no process holds the old one',
  { timeout, skip: missing({ programs: ['logrotate'], root: true }) },
  async (t) => {
    const installed = install(t);
    const { grace, scratch, pidFile } = installed;
    const clients = await serveOn(installed, t);
    const config = join(scratch, 'logrotate.conf');
    writeFileSync(config, readFileSync(script('grace.logrotate'), 'utf8').replaceAll('/var/lib/grace', grace.dir), {
      mode: 0o644,
    });
    assert.equal(
      (await runner(t)('logrotate', '--force', '--state', join(scratch, 'logrotate.state'), config)).code,
      0,
    );
    const { pid } = await grace.status();
    const holders = () =>
      [pid, pidFile()!].filter((each) => [...descriptorsOf(each).values()].includes(join(grace.dir, 'grace.log.1')));
    await until('the old one is let go of', () => holders().length === 0);
    await grace.ok('stop', src, '--now');
    assert.match(readFileSync(join(grace.dir, 'grace.log'), 'utf8'), /rule stopped/);
    await clients.stop();
    await grace.ok('stop');
    // As after a crash of the machine, where the number of a pid file is given to somebody else.
    const other = spawn('sleep', ['600']);
    t.after(() => other.kill('SIGKILL'));
    writeFileSync(join(grace.dir, 'grace.pid'), `${other.pid}\n`);
    const rotate = ['--force', '--state', join(scratch, 'logrotate.state'), config];
    assert.equal((await runner(t)('logrotate', ...rotate)).code, 0);
    assert.ok(existsSync(join(grace.dir, 'grace.log.2')) || existsSync(join(grace.dir, 'grace.log.2.gz')));
    assert.equal(other.exitCode ?? other.signalCode, null);
  },
);

/** A supervisor in the foreground, ended with the test. */
function supervise(t: TestContext, file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(file, args, { stdio: 'ignore', env: { ...process.env, ...env } });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return child;
}

test(
  'supervisord sees one pid, and a keeper that is killed is replaced by one that it started',
  { timeout, skip: missing({ programs: ['supervisord', 'supervisorctl'] }) },
  async (t) => {
    const installed = install(t);
    const { grace, executable, scratch, pidFile } = installed;
    const config = join(scratch, 'supervisord.conf');
    const section = readFileSync(script('grace.supervisord.conf'), 'utf8').replace(
      '/usr/local/bin/grace -d /var/lib/grace',
      `${executable} -d ${grace.dir}`,
    );
    writeFileSync(
      config,
      `[supervisord]\nnodaemon=true\nlogfile=${scratch}/log\npidfile=${scratch}/pid\nchildlogdir=${scratch}\n[unix_http_server]\nfile=${scratch}/sock\n` +
        `[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=unix://${scratch}/sock\n${section}`,
    );
    supervise(t, 'supervisord', ['-c', config]);
    const run = runner(t);
    const control = (...args: string[]) => run('supervisorctl', '-c', config, ...args);
    const supervisedPid = async () => Number((await control('pid', 'grace')).text);
    await until('it serves', async () => (await grace.run('status')).code === 0);
    await until('it is running', async () => (await control('status')).text.includes('RUNNING'));
    await keepsOnePid(t, installed, supervisedPid);

    const { pid } = await grace.status();
    const old = await supervisedPid();
    await kill(old);
    await until(
      'supervisord has the keeper of the same daemon',
      async () => pidFile() !== pid && pidFile() !== old && pidFile() === (await supervisedPid()),
    );
    assert.equal((await grace.status()).pid, pid);
    assert.equal((await control('stop', 'grace')).code, 0);
    await until('the daemon is gone with its keeper', () => processesOf(grace.dir).length === 0);
    await control('shutdown');
  },
);

test(
  'runit sees one pid, and sv stop ends everything',
  { timeout, skip: missing({ programs: ['runsv', 'sv'] }) },
  async (t) => {
    const installed = install(t);
    const { grace, executable, scratch } = installed;
    const service = join(scratch, 'grace');
    mkdirSync(service);
    const text = readFileSync(script('runit/run'), 'utf8').replace(
      '/usr/local/bin/grace -d /var/lib/grace',
      `${executable} -d ${grace.dir}`,
    );
    writeFileSync(join(service, 'run'), text, { mode: 0o755 });
    supervise(t, 'runsv', [service]);
    const run = runner(t);
    await until('it serves', async () => (await grace.run('status')).code === 0);
    const supervisedPid = async () => Number(/pid ([0-9]+)/.exec((await run('sv', 'status', service)).text)?.[1]);
    await keepsOnePid(t, installed, supervisedPid);
    assert.equal((await run('sv', '-w', '60', 'stop', service)).code, 0);
    await until('the daemon is gone with its keeper', () => processesOf(grace.dir).length === 0);
    await run('sv', 'exit', service);
  },
);

for (const { name, before } of [
  { name: 'process 1 of a container', before: [] },
  { name: 'the child of tini', before: ['tini', '--'] },
]) {
  test(
    `as ${name} grace goes on over restart and crash, leaves no zombie, and ends at TERM`,
    { timeout, skip: missing({ programs: ['unshare', 'nsenter', ...before.slice(0, 1)], root: true }) },
    async (t) => {
      const installed = install(t);
      const { grace, executable } = installed;
      // unshare passes no signals on; the first process inside gets them from here, by its pid outside.
      const container = supervise(t, 'unshare', [
        '--fork',
        '--kill-child',
        '--pid',
        '--mount-proc',
        ...before,
        executable,
        '-d',
        grace.dir,
        'daemon',
      ]);
      const ended = once(container, 'exit');
      const children = (pid: number) =>
        readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).map(Number);
      let first = 0;
      await until('it is there', () => (first = children(container.pid!)[0] ?? 0) > 0);
      const run = runner(t);
      const inside = (...args: string[]) => run('nsenter', '--target', String(first), '--pid', '--mount', ...args);
      const command = (...args: string[]) => inside(executable, '-d', grace.dir, ...args);
      await until('it serves', async () => (await command('status')).code === 0);
      const status = async (): Promise<{ pid: number; keeper: { pid: number } }> =>
        JSON.parse((await command('status', '--json')).text);
      const { keeper } = await status();
      if (before.length === 0) assert.equal(keeper.pid, 1);
      const outside = before.length === 0 ? first : children(first)[0]!;

      const greeter = await startGreeter();
      t.after(() => greeter.server.close());
      await command('start', 'tcp:0:interface=127.0.0.1', `tcp:127.0.0.1:${greeter.port}`);
      const rows = JSON.parse((await command('ls', '--json')).text);
      const clients = new ConnectingClients(Number(/[0-9]+$/.exec(rows[0].listening)?.[0]), { count: 2 });
      await clients.served(5);
      const old = (await status()).pid;
      assert.equal((await command('restart', '--timeout', '100s')).code, 0);
      await clients.served(5);
      await inside('kill', '-9', String((await status()).pid));
      await clients.served(5);
      assert.notEqual((await status()).pid, old);
      assert.equal((await status()).keeper.pid, keeper.pid);
      // Orphans of whatever ran in here.
      await inside('sh', '-c', '(true &) ; (true &)');
      await until('there is no zombie', () => zombiesOf(outside).length === 0 && zombiesOf(first).length === 0);
      assert.equal((await clients.stop()).refused, 0);
      process.kill(first, 'SIGTERM');
      assert.deepEqual(await ended, [0, null]);
      await gone(first);
    },
  );
}
