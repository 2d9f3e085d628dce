/** A real name server (Debian's dnsmasq-base) with a zone that a test writes. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { ownLoopback } from './grace.ts';
import { freePort } from './listening-socket.ts';
import { killChild } from './processes.ts';

const program = '/usr/sbin/dnsmasq';

/** Why tests with it are skipped; false: they are not. */
export const isDnsMissing: string | false = existsSync(program) ? false : 'dnsmasq is not installed';

export type DnsServer = {
  /** As the parameter `server` of an endpoint has it. */
  readonly place: string;
  readonly port: number;
  /** Serve another zone from now on: `srv-host=…`, `address=…`, a line each. */
  serve(...zone: string[]): Promise<void>;
  stop(): Promise<void>;
};

/** A server of a zone whose answers are kept for a second. */
export async function openDnsServer(t: TestContext, ...zone: string[]): Promise<DnsServer> {
  const port = await freePort();
  let child: ChildProcess | null = null;
  const stop = async () => {
    if (child) await killChild(child);
  };
  const serve = async (...lines: string[]) => {
    await stop();
    const options = ['no-resolv', 'no-hosts', 'bind-interfaces', 'local-ttl=1', 'auth-ttl=1', 'cache-size=0'];
    child = spawn(
      program,
      [
        '--keep-in-foreground',
        '--conf-file=/dev/null',
        '--pid-file',
        '--user=',
        '--log-facility=-',
        `--port=${port}`,
        `--listen-address=${ownLoopback}`,
        '--local=/db.test/',
        ...[...options, ...lines].map((line) => `--${line}`),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child!.stderr!.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (/started/.test(said)) resolve();
      });
      child!.once('exit', () => reject(new Error(`dnsmasq ended: ${said}`)));
    });
  };
  t.after(stop);
  await serve(...zone);
  return { place: `${ownLoopback}\\:${port}`, port, serve, stop };
}
