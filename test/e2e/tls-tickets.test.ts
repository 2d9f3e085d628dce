/** Sessions of TLS that outlive the process. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const timeout = 120_000;
const skip = runtime === 'deno' && "Deno's TLS resumes no session by a key of ours";

type Visit = { isReused: boolean; session: Buffer | undefined; ticket: Buffer | undefined };

function visit(port: number, ca: string, version: 'TLSv1.2' | 'TLSv1.3', session?: Buffer): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const options = { servername: 'www.example.com', minVersion: version, maxVersion: version, ca: readFileSync(ca) };
    const socket = connect({ host: '127.0.0.1', port, ...options, ...(session && { session }) });
    let seen: Visit = { isReused: false, session: undefined, ticket: undefined };
    socket.on('session', (each: Buffer) => (seen = { ...seen, session: each }));
    socket.once('secureConnect', () => {
      seen = { ...seen, isReused: socket.isSessionReused() };
      socket.write('hello\n');
    });
    socket.once('data', () => {
      seen = { ...seen, ticket: socket.getTLSTicket() };
      socket.end();
    });
    socket.once('error', reject).once('close', () => resolve(seen));
  });
}

/** The contents of every file below a directory, as Latin-1. */
function contentsOf(dir: string): string {
  const files = readdirSync(dir).map((name) => join(dir, name));
  return files.flatMap((path) => (statSync(path).isFile() ? readFileSync(path, 'latin1') : [])).join('\n');
}

test(
  'sessions are resumed after a restart and after a crash, by keys that no file has',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const pem = pemFiles(t);
    const backend = await startBackend(t, 'A');
    const src = `ssl:0:privateKey=${pem.key}:certKey=${pem.fullChain}:interface=127.0.0.1`;
    await grace.ok('start', src, backend.endpoint);
    const port = await grace.port(src);
    const go = (version: 'TLSv1.2' | 'TLSv1.3', session?: Buffer) => visit(port, pem.root, version, session);
    const old = await go('TLSv1.2');
    const modern = await go('TLSv1.3');
    const bothAreResumed = async () => {
      assert.equal((await go('TLSv1.2', old.session)).isReused, true, 'TLS 1.2');
      assert.equal((await go('TLSv1.3', modern.session)).isReused, true, 'TLS 1.3');
    };
    await bothAreResumed();
    await grace.ok('restart');
    await bothAreResumed();
    const { pid } = await grace.status();
    process.kill(pid, 'SIGKILL');
    await until('the daemon is there again', async () => {
      const { code, stdout } = await grace.run('status', '--json');
      return code === 0 && (JSON.parse(stdout) as { pid: number }).pid !== pid;
    });
    await bothAreResumed();
    // A second crash finds what the daemon after the first left.
    const second = (await grace.status()).pid;
    process.kill(second, 'SIGKILL');
    await until('the daemon is there once more', async () => {
      const { code, stdout } = await grace.run('status', '--json');
      return code === 0 && (JSON.parse(stdout) as { pid: number }).pid !== second;
    });
    await bothAreResumed();
    // A ticket begins with the name of its key.
    const name = old.ticket!.subarray(0, 15);
    const written = contentsOf(grace.dir);
    for (const form of ['latin1', 'base64', 'hex'] as const) assert.ok(!written.includes(name.toString(form)), form);
  },
);
