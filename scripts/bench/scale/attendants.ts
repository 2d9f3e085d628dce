/** The processes around a forwarder that is measured: backends, clients that hold connections, clients that notice a standstill. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { answers, freePort } from '../ports.ts';
import { start } from '../program.ts';
import type { Forward } from './forwarders.ts';

const here = dirname(fileURLToPath(import.meta.url));

/** Addresses that clients come from: each has some 28,000 ports to one destination. */
const sourceCount = 20;

/** Start a server that echoes; the stack ends it. Resolves with its port. */
export async function startEcho(
  cleanUp: AsyncDisposableStack,
  { dir, descriptors, signal }: { dir: string; descriptors: number; signal: AbortSignal },
): Promise<number> {
  const port = await freePort();
  const args = [join(here, '../idle-server.ts'), `${port}`];
  const running = start(process.execPath, args, { output: join(dir, 'backend'), descriptors });
  cleanUp.defer(() => running.stop());
  await answers(port, { ended: running.ended, signal });
  return port;
}

/** A program that answers with lines. */
type Attendant = { child: ChildProcessByStdio<Writable, Readable, Readable>; line(): Promise<string> };

function attend(cleanUp: AsyncDisposableStack, program: string, args: readonly string[]): Attendant {
  // As many descriptors as there may be: Node raises its own limit to the hard one.
  const child = spawn(process.execPath, [join(here, program), ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  cleanUp.defer(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-500)));
  child.stdin.on('error', () => {}); // it has ended, which the next line tells
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    async line() {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`${program} ended: ${said.trim()}`);
      return value;
    },
  };
}

export type Clients = {
  /** How many of the connections answer still. They end with this. */
  finish(): Promise<number>;
};

/** Open so many connections from several addresses, and hold them. */
export async function openClients(
  cleanUp: AsyncDisposableStack,
  { host, port }: Forward,
  count: number,
): Promise<Clients> {
  const sources = Array.from({ length: sourceCount }, (_, index) => `127.88.0.${index + 1}`);
  const { child, line } = attend(cleanUp, 'client.ts', [`${port}`, host, `${count}`, ...sources]);
  await line();
  return {
    async finish() {
      child.stdin.end();
      return Number(await line());
    },
  };
}

/** Longest waits since the last look, in milliseconds; how many bytes have come back so far, and how often none did. */
export type Waits = { kept: number; newcomer: number; asked: number; failed: number };

/** Clients that are served one after the other, one of them over a connection that it keeps. */
export async function startPinger(
  cleanUp: AsyncDisposableStack,
  { host, port }: Forward,
): Promise<{ look(): Promise<Waits> }> {
  const { child, line } = attend(cleanUp, 'pinger.ts', [`${port}`, host]);
  const look = async () => {
    child.stdin.write('\n');
    return JSON.parse(await line()) as Waits;
  };
  while ((await look()).asked < 100);
  return { look };
}
