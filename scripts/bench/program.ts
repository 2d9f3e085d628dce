/** Programs that a benchmark runs. */
import { spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Where Debian puts programs that are not in everybody's PATH. */
const furtherPlaces = ['/usr/sbin', '/usr/local/sbin', '/lib/systemd', '/usr/lib/systemd'];

/** The path of a program, or null when it is not installed. */
export function findProgram(name: string): string | null {
  for (const dir of [...(process.env['PATH'] ?? '').split(':'), ...furtherPlaces]) {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return join(dir, name);
    } catch {
      // not there
    }
  }
  return null;
}

export type Running = { pid: number; child: ChildProcess; stop(): Promise<void> };

/** Start a program that runs until it is stopped. */
export function start(file: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(file, args, { stdio: 'ignore', ...options });
  const ended = once(child, 'exit').catch(() => {}); // what could not be started does not answer, and that is found out
  return {
    pid: child.pid ?? -1,
    child,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Run a program to its end; its stdout. Throws with what it said when it fails. */
export async function run(file: string, args: readonly string[], options: SpawnOptions = {}): Promise<string> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (data: Buffer) => (stdout += data));
  child.stderr?.on('data', (data: Buffer) => (stderr += data));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

/** Wait until a port of this machine accepts. */
export async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const socket = net.connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch {
      await delay(25);
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`nothing answers on port ${port}`);
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
