/** An etcd, and what people do to it with etcdctl. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, openSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { ownLoopback } from './grace.ts';
import { killChild } from './processes.ts';

/** Why there is none; false where there is. */
export const withoutEtcd: string | false =
  process.platform !== 'linux' || spawnSync('etcd', ['--version']).error || spawnSync('etcdctl', ['version']).error
    ? 'there are no etcd and etcdctl (Debian: etcd-server, etcd-client)'
    : false;

export type Etcd = {
  /** `HOST:PORT` */
  address: string;
  /** Run etcdctl; returns what it prints. */
  ctl(...args: string[]): string;
  /** Set a key to what may be no text, perhaps under a lease. Not with TLS. */
  put(key: string, value: string | Buffer, lease?: string): Promise<void>;
  /** Not with TLS. */
  remove(key: string): Promise<void>;
  /** The values of keys that begin so. Not with TLS. */
  below(prefix: string): Promise<string[]>;
  /** The id of a new lease of so many seconds. */
  lease(seconds: number): string;
  /** Have a lease last as long again, from now on. Not with TLS. */
  keep(lease: string): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** End it without a warning. */
  kill(): Promise<void>;
  /** Start it again, with the data that it had. */
  start(): Promise<void>;
  log(): string;
};

/** Files of PEM; clients must present a certificate of the authority. */
export type EtcdTls = { cacert: string; cert: string; key: string };

/** The only member of an etcd, ready. A test file has one at a time. */
export async function startEtcd(t: TestContext, tls?: EtcdTls): Promise<Etcd> {
  const dir = mkdtempSync(join(tmpdir(), 'grace-etcd-'));
  const url = (port: number, scheme = 'http') => `${scheme}://${ownLoopback}:${port}`;
  const [client, peer] = [url(2379, tls ? 'https' : 'http'), url(2380)];
  const address = client.slice(client.lastIndexOf('/') + 1);
  const logFile = join(dir, 'log');
  const files = tls ? ['--cacert', tls.cacert, '--cert', tls.cert, '--key', tls.key] : [];
  const attempt = (words: readonly string[]) =>
    spawnSync('etcdctl', ['--endpoints', client, ...files, '--command-timeout', '20s', ...words], {
      env: { ...process.env, ETCDCTL_API: '3' },
    });
  const ask = async (path: string, question: object) => {
    const response = await fetch(`${client}/v3/${path}`, { method: 'POST', body: JSON.stringify(question) });
    if (!response.ok) throw new Error(`etcd: ${path}: ${await response.text()}`);
    return (await response.json()) as { kvs?: { value?: string }[] };
  };
  const numberOf = (lease: string) => String(BigInt(`0x${lease}`));
  const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');
  let child: ChildProcess | undefined;
  const etcd: Etcd = {
    address,
    ctl(...words) {
      const { status, stdout, stderr } = attempt(words);
      if (status !== 0) throw new Error(`etcdctl ${words.join(' ')}: ${stderr}${etcd.log().slice(-2000)}`);
      return stdout.toString();
    },
    async put(key, value, lease) {
      await ask('kv/put', {
        key: base64(key),
        value: base64(value),
        lease: lease === undefined ? '0' : numberOf(lease),
      });
    },
    async remove(key) {
      await ask('kv/deleterange', { key: base64(key) });
    },
    async below(prefix) {
      const { kvs = [] } = await ask('kv/range', { key: base64(prefix), range_end: base64(`${prefix}\u007f`) });
      return kvs.map(({ value = '' }) => Buffer.from(value, 'base64').toString());
    },
    lease: (seconds) => /^lease ([0-9a-f]+) granted/.exec(etcd.ctl('lease', 'grant', String(seconds)))![1]!,
    async keep(lease) {
      await ask('lease/keepalive', { ID: numberOf(lease) });
    },
    signal: (signal) => void child?.kill(signal),
    async kill() {
      if (child) await killChild(child);
    },
    async start() {
      const log = openSync(logFile, 'a');
      const started = spawn(
        'etcd',
        [
          ['--data-dir', join(dir, 'data'), '--listen-client-urls', client, '--advertise-client-urls', client],
          ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
          tls
            ? ['--client-cert-auth', '--trusted-ca-file', tls.cacert, '--cert-file', tls.cert, '--key-file', tls.key]
            : [],
        ].flat(),
        { stdio: ['ignore', log, log] },
      );
      closeSync(log);
      child = started;
      await until('etcd is there', () => {
        if (started.exitCode !== null) throw new Error(`etcd has ended: ${etcd.log().slice(-2000)}`);
        return attempt(['endpoint', 'health']).status === 0;
      });
    },
    log: () => readFileSync(logFile, 'utf8'),
  };
  t.after(async () => {
    await etcd.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  await etcd.start();
  return etcd;
}
