/** `GRACE_TEST_SCP_MB` says how much scp copies (64). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import type { Forward } from './forward.ts';
import { makeDirectory, missing, openSession, run, secondLoopback, startServer } from './program.ts';

const sshd = '/usr/sbin/sshd';
const skip = missing([`test -x ${sshd}`, 'openssh-server'], ['ssh -V', 'openssh-client']);
const megabytes = Number(process.env['GRACE_TEST_SCP_MB'] ?? 64);
const timeout = 240_000 * Math.max(1, megabytes / 128);

type Server = { ways: [string, string]; key: string; hostKey: string };

/** A server of its own keys, for whoever runs the test. */
async function startSshd(t: TestContext, dir: string): Promise<Server> {
  const [port, hostKey, key] = [await freePort(), join(dir, 'host'), join(dir, 'user')];
  for (const file of [hostKey, key]) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
  copyFileSync(`${key}.pub`, join(dir, 'authorized'));
  // Where a privileged sshd puts those who are not authenticated yet; Debian's service makes it.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const config = [
    `ListenAddress ${ownLoopback}:${port}`,
    `ListenAddress ${secondLoopback}:${port}`,
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${join(dir, 'authorized')}`,
    'PidFile none',
    'StrictModes no',
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'MaxStartups 100',
    'Subsystem sftp internal-sftp',
  ];
  writeFileSync(join(dir, 'config'), `${config.join('\n')}\n`);
  await startServer(t, sshd, ['-D', '-e', '-f', join(dir, 'config')], { host: ownLoopback, port });
  return { ways: [`tcp:${ownLoopback}:${port}`, `tcp:${secondLoopback}:${port}`], key, hostKey };
}

/** Options of a client that heeds nothing but these. */
function clientOptions(dir: string, { key, hostKey }: Server, { port }: Forward): string[] {
  const known = join(dir, 'known');
  writeFileSync(known, `[127.0.0.1]:${port} ${readFileSync(`${hostKey}.pub`, 'utf8')}`);
  const settings = [
    `Port=${port}`,
    `User=${userInfo().username}`,
    `IdentityFile=${key}`,
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    'BatchMode=yes',
    `UserKnownHostsFile=${known}`,
    'StrictHostKeyChecking=yes',
  ];
  return ['-F', 'none', ...settings.flatMap((each) => ['-o', each])];
}

test(`scp and an open session notice nothing; a crash refuses nobody`, { timeout, skip }, async (t) => {
  const dir = makeDirectory(t);
  chmodSync(dir, 0o755);
  const server = await startSshd(t, dir);
  const forward = await startForward(t, server);
  const options = clientOptions(dir, server, forward);
  const [from, to] = [join(dir, 'from'), join(dir, 'to')];
  execFileSync('sh', ['-c', `head -c ${megabytes}M /dev/urandom >${from}`]);

  const shell = openSession(t, 'ssh', [...options, '127.0.0.1', 'echo $$; cat']);
  await shell.line();
  let count = 0;
  const session = async () => assert.equal(await shell.ask(`line ${++count}`), `line ${count}`);
  const newcomer = async () => assert.equal(await run('ssh', [...options, '127.0.0.1', 'echo hello']), 'hello\n');
  // To the server and back, each time to a new file.
  const copy = async () => {
    await run('scp', [...options, from, `127.0.0.1:${to}`]);
    await run('scp', [...options, `127.0.0.1:${to}`, `${to}-back`]);
    await run('cmp', [from, to]);
    await run('cmp', [from, `${to}-back`]);
    await run('rm', [to, `${to}-back`]);
  };
  const begin = performance.now();
  const rounds = await meanwhile(copy, disturb(forward, { session, newcomer }));
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  t.diagnostic(`${rounds * 2} copies of ${megabytes} MB in ${seconds} s, ${count} lines of the session`);
  await crash(forward, newcomer);
  assert.match(await shell.ended, /closed by remote host|Connection reset|Broken pipe/);
});
