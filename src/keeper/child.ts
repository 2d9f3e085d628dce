import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Invocation } from '../control/messages.ts';
import { closeChannelEnd } from './channel.ts';
import type { ChannelEnd } from './channel.ts';
import { clearOfPlaces } from '../sys/descriptor.ts';
import { whyNoProgram } from '../sys/program.ts';
import { channelVariable } from './messages.ts';

export type DaemonChild = {
  /** Null when no program could be started. */
  pid: number | null;
  /** Calls back with how it ended, for people: `was ended by SIGKILL`. */
  onExit(callback: (how: string) => void): void;
};

export type SpawnDaemonOptions = {
  /** The first that can be started is taken. */
  programs: readonly Invocation[];
  args: readonly string[];
  /** Its end of the channel; closed here. */
  end: ChannelEnd;
  env: NodeJS.ProcessEnv;
};

/**
 * Start a daemon, in a session of its own: what a terminal sends to its processes (Ctrl-C) comes to
 * the keeper alone, which passes it on once. Its standard streams are the keeper's.
 */
export function spawnDaemon({ programs, args, end, env }: SpawnDaemonOptions): DaemonChild {
  let child: ChildProcess | null = null;
  for (const { file, args: before } of programs) {
    if (whyNoProgram(file) !== null) continue;
    child = trySpawn(file, [...before, ...args], end, env);
    if (child !== null) break;
  }
  closeChannelEnd(end);
  return {
    pid: child?.pid ?? null,
    onExit: (callback) => void child?.once('exit', (code, signal) => callback(signal === null ? `exited with code ${code}` : `was ended by ${signal}`)),
  };
}

function trySpawn(file: string, args: readonly string[], { stream, datagrams }: ChannelEnd, env: NodeJS.ProcessEnv): ChildProcess | null {
  const clear = clearOfPlaces([stream, datagrams]);
  try {
    const child = spawn(file, args, {
      cwd: '/',
      detached: true,
      env: { ...env, [channelVariable]: '3,4' },
      stdio: ['inherit', 'inherit', 'inherit', ...clear.fds],
    });
    child.on('error', () => {}); // there is no pid then, which is looked at
    return child.pid === undefined ? null : child;
  } catch {
    return null; // Deno throws where Node tells later
  } finally {
    clear.close();
  }
}
