/** Runs the executable for arm64 under qemu: forward, switch, restart. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const emulator = ['qemu-aarch64', 'qemu-aarch64-static'].find((name) => !spawnSync(name, ['--version']).error);
/** Debian's libc6-arm64-cross and libstdc++6-arm64-cross. */
const library = '/usr/aarch64-linux-gnu';
const src = 'tcp:0:interface=127.0.0.1';

/** Prints what was done, or why it cannot be. Throws when the executable does not do what it should. */
export async function smokeTest(executables: ReadonlyMap<string, string>): Promise<void> {
  const executable = executables.get('linux-arm64');
  if (executable === undefined) return console.log('smoke test skipped: no executable for linux-arm64 was built');
  if (!emulator || !existsSync(library)) {
    return console.log(
      'smoke test skipped: it needs the packages qemu-user or qemu-user-static, libc6-arm64-cross and libstdc++6-arm64-cross',
    );
  }
  const directory = await mkdtemp(join(tmpdir(), 'grace-smoke-'));
  const dir = join(directory, 'state');
  // The daemon is started by its own path, so that path leads to the emulator.
  const program = join(directory, 'grace');
  await writeFile(program, `#!/bin/sh\nexec ${emulator} -L ${library} ${executable} "$@"\n`);
  await chmod(program, 0o755);
  const grace = async (...args: string[]): Promise<string> =>
    (await run(program, ['-d', dir, ...args], { timeout: 60_000 })).stdout;
  const servers = [await answering('blue'), await answering('green')];
  try {
    console.log((await grace('--version')).trim().replaceAll('\n', ', '));
    const [blue, green] = servers.map((server) => `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`);
    // Without the keeper: qemu does not know all that it asks of the kernel.
    spawn(program, ['-d', dir, 'daemon', '--no-keeper'], { stdio: 'inherit' });
    await retry(() => grace('status'));
    await grace('start', src, blue!);
    const rows: { listening: string }[] = JSON.parse(await grace('ls', '--json'));
    const port = Number(rows[0]!.listening.split(':').at(-1));
    expect('forwarded', await ask(port), 'blue');
    await grace('switch', src, green!);
    expect('switched', await ask(port), 'green');
    console.log((await grace('restart', '--exec', program, '--timeout', '60s')).trim());
    expect('restarted', await ask(port), 'green');
    console.log(`smoke test: ${(await grace('status')).trim().replaceAll(/\n/g, ', ').replaceAll(/ +/g, ' ')}`);
  } catch (error) {
    console.error(await readFile(join(dir, 'grace.log'), 'utf8').catch(() => ''));
    throw error;
  } finally {
    await grace('stop', '--now').catch(() => ''); // the error before says more
    for (const server of servers) server.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** There is nothing to wait for that would say that a foreground daemon is up. */
async function retry(attempt: () => Promise<unknown>): Promise<void> {
  for (let left = 40; ; left--) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (left === 0) throw error;
      await delay(250);
    }
  }
}

async function answering(words: string): Promise<Server> {
  const server = createServer((socket) => void socket.end(words)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function ask(port: number): Promise<string> {
  return await text(connect({ host: '127.0.0.1', port }));
}

function expect(what: string, got: string, wanted: string): void {
  if (got !== wanted) throw new Error(`${what}: got "${got}" instead of "${wanted}"`);
  console.log(`${what}: ${got}`);
}
