/** Pass phrases, tokens and keys stay where they were put. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeCertificate } from '../endpoint/pem.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';

test(
  'pass phrases, tokens, keys and passwords are in no log, no argument, no file of the state dir, and nothing that a command prints',
  { timeout: 120_000 },
  async (t) => {
    using temp = makeTempDir();
    const secrets = {
      phrase: 'phrase-in-a-file-5b1e',
      variable: 'phrase-in-a-variable-77aa',
      token: 'token-0123456789-cafe-4c4c',
      etcd: 'password-of-etcd-9d9d',
    };
    const grace = makeGrace(t, { GRACE_TEST_PHRASE: secrets.variable, GRACE_TEST_ETCD: secrets.etcd });
    const backend = await startBackend(t, 'one');
    const certificate = (name: string, phrase: string) => {
      const [key, cert] = [temp.file(`${name}.key`), temp.file(`${name}.crt`)];
      makeCertificate(temp.path, { name, subject: 'a', extensions: [] });
      const pass = ['-passout', `pass:${phrase}`];
      execFileSync('openssl', ['pkey', '-aes256', '-in', key, '-out', `${key}.new`, ...pass], { stdio: 'ignore' });
      renameSync(`${key}.new`, key);
      return { text: `privateKey=${key}:certKey=${cert}`, key };
    };
    const [first, second] = [certificate('first', secrets.phrase), certificate('second', secrets.variable)];
    writeFileSync(temp.file('phrase'), `${secrets.phrase}\n`, { mode: 0o600 });
    writeFileSync(temp.file('token'), `${secrets.token}\n`, { mode: 0o600 });
    const daemon = grace.spawn(
      'daemon',
      '--admin',
      'tcp:0:interface=127.0.0.1',
      '--admin-token',
      temp.file('token'),
      '--access-log',
      temp.file('access'),
    );
    await until(
      () => `it serves: ${daemon.outcome().stderr}`,
      () => grace.log().includes('serving'),
    );
    const at = 'interface=127.0.0.1';
    await grace.ok('start', `ssl:0:${at}:${first.text}:passphrase=file\\:${temp.file('phrase')}`, backend.endpoint);
    await grace.ok('start', `ssl:0:${at}:${second.text}:passphrase=env\\:GRACE_TEST_PHRASE`, backend.endpoint);
    await grace.ok('restart');
    // The body of a key is as secret as the phrase.
    const needles = [
      ...Object.values(secrets),
      ...[first, second].map(({ key }) => readFileSync(key, 'utf8').split('\n')[1]!),
    ];

    const { pid, keeper } = await grace.status();
    const shown: [string, string][] = [];
    for (const command of [
      ['ls', '--json', '--long'],
      ['ls', '--long'],
      ['ls', '--connections', '--json'],
      ['status', '--json'],
      ['metrics'],
      ['logs'],
      ['export'],
      ['apply', `etcd://root:${secrets.etcd}@127.0.0.1:1/key`],
      ['apply', `etcd://127.0.0.1:1/key?user=root&password=${secrets.etcd}`],
      ['apply', `etcd://127.0.0.1:1/key?user=root&password=env:GRACE_TEST_NONE`],
      ['start', `ssl:0:${at}:${first.text}:passphrase=env\\:GRACE_TEST_ETCD`, backend.endpoint],
    ]) {
      const { stdout, stderr } = await grace.run(...command);
      shown.push([command[0]!, stdout + stderr]);
    }
    for (const each of [pid, keeper?.pid ?? pid])
      shown.push(['arguments', readFileSync(`/proc/${each}/cmdline`, 'utf8')]);
    for (const name of readdirSync(grace.dir))
      if (statSync(join(grace.dir, name)).isFile()) shown.push([name, readFileSync(join(grace.dir, name), 'utf8')]);
    shown.push(
      ['console', daemon.outcome().stdout + daemon.outcome().stderr],
      ['access log', readFileSync(temp.file('access'), 'utf8')],
    );
    assert.deepEqual(
      shown.flatMap(([what, text]) =>
        needles.filter((needle) => text.includes(needle)).map((needle) => [what, needle, text.slice(0, 500)]),
      ),
      [],
    );
  },
);
