/** What testssl.sh has to say about a source with the defaults: nothing above LOW. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const program = ['testssl', 'testssl.sh'].find((name) => spawnSync(name, ['--version']).status === 0);
const options = { timeout: 300_000, skip: program === undefined && 'testssl is not installed (Debian: testssl.sh)' };

test('testssl.sh finds nothing above LOW with the defaults', options, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const backend = await startBackend(t, 'one');
  const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
  await grace.ok('start', src, backend.endpoint);
  const file = join(pem.dir, 'findings.json');
  // Protocols, ciphers, forward secrecy and all that it knows to be vulnerable; not the certificate, which is the test's own.
  const args = [
    '--quiet',
    '--warnings',
    'off',
    '--color',
    '0',
    '-p',
    '-s',
    '-f',
    '-U',
    '--jsonfile',
    file,
    '--add-ca',
    pem.root,
    `127.0.0.1:${await grace.port(src)}`,
  ];
  await new Promise<void>((resolve) => void execFile(program!, args, () => resolve())); // its code is the number of findings
  const findings = JSON.parse(readFileSync(file, 'utf8')) as { id: string; severity: string; finding: string }[];
  t.diagnostic(
    `${findings.length} findings, of LOW: ${
      findings
        .filter(({ severity }) => severity === 'LOW')
        .map(({ id }) => id)
        .join(', ') || 'none'
    }`,
  );
  assert.ok(findings.some(({ id, finding }) => id === 'TLS1_3' && /offered/.test(finding)));
  assert.ok(findings.length > 30);
  assert.deepEqual(
    findings.filter(({ severity }) => ['MEDIUM', 'HIGH', 'CRITICAL', 'FATAL'].includes(severity)),
    [],
  );
});
