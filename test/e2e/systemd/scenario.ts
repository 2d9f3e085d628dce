/**
 * Runs as root inside the sandbox, beside systemd: one scenario, named on the command line. What it
 * prints is the transcript. Exits with 0 if all went as it should.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { once } from 'node:events';
import { until } from '../../until.ts';
import { ConnectingClients, startGreeter } from '../connecting-clients.ts';

const dir = '/var/lib/grace';
const executable = '/usr/local/bin/grace';
const [, , name = '', ...program] = process.argv;

type Output = { code: number | null; text: string };

/** Clients and backend live in this process too, so nothing may block it. */
function output(command: string, args: readonly string[]): Promise<Output> {
  return new Promise((resolve) => {
    const child = execFile(command, args, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, text: `${stdout}${stderr}`.trimEnd() }),
    );
  });
}

async function attempt(command: string, ...args: string[]): Promise<Output> {
  const { code, text } = await output(command, args);
  console.log(
    [
      `# ${[command, ...args].join(' ')}`,
      ...(text === '' ? [] : [text]),
      ...(code === 0 ? [] : [`exit code ${code}`]),
    ].join('\n'),
  );
  return { code, text };
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { code, text } = await attempt(command, ...args);
  if (code !== 0) {
    await attempt('journalctl', '--no-pager', '-n', '40');
    await attempt('tail', '-n', '20', `${dir}/grace.log`);
  }
  assert.equal(code, 0);
  return text;
}

type Unit = Record<
  'MainPID' | 'ActiveState' | 'SubState' | 'StatusText' | 'NFileDescriptorStore' | 'Result' | 'NRestarts',
  string
>;

/** Properties of the unit; not part of the transcript. */
async function show(): Promise<Unit> {
  const properties = 'MainPID,ActiveState,SubState,StatusText,NFileDescriptorStore,Result,NRestarts';
  const { text } = await output('systemctl', ['show', '-p', properties, 'grace']);
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s, 2)),
  );
}

/** Wait for what systemd does in its own time. */
async function untilUnit(what: string, isSo: (unit: Unit) => boolean): Promise<Unit> {
  let unit!: Unit;
  await until(
    () => `${what}; ${JSON.stringify(unit)}`,
    async () => isSo((unit = await show())),
    { limitMs: 60_000 },
  );
  return unit;
}

async function graceStatus(): Promise<{ pid: number; keeper: unknown }> {
  return JSON.parse((await output(executable, ['-d', dir, 'status', '--json'])).text);
}

function install(): void {
  mkdirSync('/usr/local/bin', { recursive: true });
  rmSync(executable, { force: true });
  const [file = '', ...args] = program;
  if (args.length === 0) copyFileSync(file, `${executable}.new`);
  else writeFileSync(`${executable}.new`, `#!/bin/sh\nexec ${[file, ...args].join(' ')} "$@"\n`);
  chmodSync(`${executable}.new`, 0o755);
  renameSync(`${executable}.new`, executable);
}

async function startWithRule(): Promise<{ port: number; clients: (count?: number) => ConnectingClients }> {
  install();
  const greeter = await startGreeter();
  await run('systemctl', 'start', 'grace');
  await run(executable, '-d', dir, 'start', 'tcp:8080:interface=127.0.0.1', `tcp:127.0.0.1:${greeter.port}`);
  return { port: 8080, clients: (count = 4) => new ConnectingClients(8080, { count }) };
}

async function refuses(port: number): Promise<boolean> {
  const socket = createConnection({ port, host: '127.0.0.1' });
  const isRefused = await Promise.race([
    once(socket, 'connect').then(() => false),
    new Promise<boolean>((resolve) => socket.once('error', () => resolve(true))),
  ]);
  socket.destroy();
  return isRefused;
}

const scenarios: Record<string, () => Promise<void>> = {
  async life() {
    const { port } = await startWithRule();
    let unit = await untilUnit('status', ({ StatusText }) => StatusText === 'Forwarding 1 of 1 rules');
    assert.equal(unit.ActiveState, 'active');
    assert.equal(Number(unit.MainPID), (await graceStatus()).pid);
    assert.equal((await graceStatus()).keeper, null);
    // The control socket and that of the rule.
    assert.equal(unit.NFileDescriptorStore, '2');
    await run('systemctl', 'status', '--no-pager', '-n', '0', 'grace');
    await run(executable, '-d', dir, 'stop', 'tcp:8080:interface=127.0.0.1');
    unit = await untilUnit(
      'the socket is no longer stored',
      ({ NFileDescriptorStore }) => NFileDescriptorStore === '1',
    );
    assert.ok(await refuses(port));
    await run('systemctl', 'stop', 'grace');
    unit = await show();
    assert.deepEqual([unit.ActiveState, unit.Result, unit.NFileDescriptorStore], ['inactive', 'success', '0']);
  },

  async reload() {
    const { clients } = await startWithRule();
    const load = clients();
    const pids = [(await graceStatus()).pid];
    for (let round = 0; round < 3; round++) {
      await load.served(50);
      await run('systemctl', 'reload', 'grace');
      const { pid } = await graceStatus();
      assert.ok(!pids.includes(pid));
      pids.push(pid);
      const unit = await untilUnit(
        'MainPID follows',
        ({ MainPID, SubState }) => Number(MainPID) === pid && SubState === 'running',
      );
      assert.equal(unit.NRestarts, '0');
      assert.equal(unit.NFileDescriptorStore, '2');
    }
    await load.served(50);
    const tally = await load.stop();
    console.log(`pids ${pids.join(' -> ')}: ${JSON.stringify(tally)}`);
    assert.deepEqual([tally.refused, tally.cut], [0, 0]);
    await run('systemctl', 'status', '--no-pager', '-n', '0', 'grace');
    const journal = await run('journalctl', '--no-pager', '--quiet', '--output=cat', '--unit', 'grace');
    assert.match(journal, /replaced/);
    // A successor is systemd's own child, whose end it notices. Deno's is not.
    if (program.length === 1) assert.doesNotMatch(journal, /not our child/);
    renameSync(executable, `${executable}.good`);
    writeFileSync(executable, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    assert.notEqual((await attempt('systemctl', 'reload', 'grace')).code, 0);
    assert.equal((await show()).ActiveState, 'active');
    const last = clients(1);
    await last.served(5);
    assert.deepEqual((await last.stop()).refused, 0);
  },

  async kill() {
    const { clients } = await startWithRule();
    const load = clients();
    for (let round = 0; round < 3; round++) {
      await load.served(50);
      const { pid } = await graceStatus();
      const begin = performance.now();
      await run('systemctl', 'kill', '-s', 'KILL', 'grace');
      await untilUnit(
        'it is started again',
        ({ MainPID, ActiveState }) => ActiveState === 'active' && Number(MainPID) !== pid && MainPID !== '0',
      );
      console.log(`serves again after ${Math.round(performance.now() - begin)} ms`);
      await load.served(50);
    }
    const tally = await load.stop();
    console.log(JSON.stringify(tally));
    assert.equal(tally.refused, 0);
    assert.ok(tally.cut <= 12, 'only what the killed one had accepted');
    assert.equal((await show()).NFileDescriptorStore, '2');
  },

  async restart() {
    const { clients } = await startWithRule();
    const load = clients();
    await load.served(50);
    await run('systemctl', 'restart', 'grace');
    await load.served(50);
    await run('systemctl', 'restart', 'grace');
    await load.served(50);
    const tally = await load.stop();
    console.log(JSON.stringify(tally));
    assert.deepEqual([tally.refused, tally.cut], [0, 0]);
    await run('systemctl', 'stop', 'grace');
    assert.ok(await refuses(8080));
  },

  async watchdog() {
    mkdirSync('/etc/systemd/system/grace.service.d', { recursive: true });
    writeFileSync('/etc/systemd/system/grace.service.d/fast.conf', '[Service]\nWatchdogSec=2s\nLimitCORE=0\n');
    await run('systemctl', 'daemon-reload');
    const { clients } = await startWithRule();
    await run('systemctl', 'reload', 'grace');
    const { pid } = await graceStatus();
    const load = clients(2);
    // Longer than the limit: the successor says that it lives.
    const begin = performance.now();
    while (performance.now() - begin < 4500) await load.served(20);
    assert.equal((await show()).NRestarts, '0');
    process.kill(pid, 'SIGSTOP');
    await untilUnit(
      'it is ended and started again',
      ({ MainPID, ActiveState, NRestarts }) => NRestarts === '1' && ActiveState === 'active' && Number(MainPID) !== pid,
    );
    await load.served(20);
    const tally = await load.stop();
    console.log(`a daemon that hung was started again: ${JSON.stringify(tally)}`);
    assert.equal(tally.refused, 0);
  },

  async sockets() {
    install();
    const greeter = await startGreeter();
    await run('systemctl', 'start', 'grace.socket');
    await run('systemctl', 'start', 'grace');
    await run(executable, '-d', dir, 'start', 'systemd:domain=INET6:name=web', `tcp:127.0.0.1:${greeter.port}`);
    const load = new ConnectingClients(80);
    await load.served(20);
    await run('systemctl', 'reload', 'grace');
    await load.served(20);
    await run('systemctl', 'kill', '-s', 'KILL', 'grace');
    await load.served(20);
    const tally = await load.stop();
    console.log(JSON.stringify(tally));
    assert.equal(tally.refused, 0);
  },

  async group() {
    install();
    await run('groupadd', '--system', 'deploy');
    await run('useradd', '--system', '--user-group', '--no-create-home', 'grace');
    for (const [user, group] of [
      ['anna', 'deploy'],
      ['berta', 'users'],
    ] as const)
      await run('useradd', '--no-create-home', '--groups', group, user);
    writeFileSync(
      '/etc/systemd/system/grace.service',
      `${await run(executable, 'unit', 'systemd', '--socket-group', 'deploy')}\n`,
    );
    await run('systemctl', 'daemon-reload');
    await run('systemctl', 'start', 'grace');
    const as = (user: string, ...args: string[]) =>
      attempt('runuser', '-u', user, '--', executable, '-d', dir, ...args);
    const greeter = await startGreeter();
    for (let round = 0; round < 2; round++) {
      assert.equal(
        (await as('anna', 'start', `tcp:${8080 + round}:interface=127.0.0.1`, `tcp:127.0.0.1:${greeter.port}`)).code,
        0,
      );
      assert.equal((await as('anna', 'ls')).code, 0);
      const refused = await as('berta', 'ls');
      assert.equal(refused.code, 1);
      assert.match(refused.text, /permission denied/);
      const exec = await as('anna', 'restart', '--exec', '/bin/true');
      assert.equal(exec.code, 1);
      await run('systemctl', round === 0 ? 'reload' : 'restart', 'grace');
    }
    assert.equal((await as('anna', 'restart')).code, 0);
    assert.equal(await refuses(8081), false);
    assert.match(await run('ps', '-o', 'user=', '-p', (await show()).MainPID), /^grace$/);
  },

  async rotate() {
    if (!existsSync('/usr/sbin/logrotate')) {
      console.log('there is no logrotate here');
      process.exit(77);
    }
    // As an administrator has it who wants a file rather than the journal.
    mkdirSync('/etc/systemd/system/grace.service.d', { recursive: true });
    writeFileSync(
      '/etc/systemd/system/grace.service.d/log.conf',
      `[Service]\nEnvironment=GRACE_LOG=${dir}/grace.log\n`,
    );
    await run('systemctl', 'daemon-reload');
    const { port } = await startWithRule();
    const config = '/tmp/grace.logrotate';
    copyFileSync('/etc/systemd/system/grace.logrotate', config);
    chmodSync(config, 0o644);
    for (let round = 0; round < 2; round++) {
      const { ino } = statSync(`${dir}/grace.log`);
      await run('logrotate', '--force', '--state', '/tmp/logrotate.state', config);
      await until(
        'the log is a new file',
        () => (statSync(`${dir}/grace.log`, { throwIfNoEntry: false })?.ino ?? ino) !== ino,
      );
      await run('systemctl', 'reload', 'grace');
      await until('it is written to', () => readFileSync(`${dir}/grace.log`, 'utf8').includes('serving'));
    }
    await run('systemctl', 'restart', 'grace');
    assert.equal((await show()).ActiveState, 'active');
    assert.equal(await refuses(port), false);
  },
};

const scenario = scenarios[name];
assert.ok(scenario, `there is no scenario ${name}`);
await scenario();
process.exit(0);
