import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Program } from '../control/shapes.ts';
import { errorCode } from '../error.ts';
import { closeChannelEnd } from './channel.ts';
import type { ChannelEnd } from './channel.ts';
import { clearOfPlaces } from '../sys/descriptor.ts';
import { whyNoProgram } from '../sys/program.ts';
import { channelVariable } from './messages.ts';

/** A daemon that was started. */
export type DaemonChild = {
  /** Null when no program could be started. */
  pid: number | null;
  /** Calls back with how it ended, for people: `was ended by SIGKILL`. */
  onExit(callback: (how: string) => void): void;
  /** Calls back, before its channel closes, when it could not be started for want of descriptors, processes, memory or a program that may be executed. */
  onShortage(callback: (error: unknown) => void): void;
};

/** How a daemon is started. */
export type SpawnDaemonOptions = {
  /** The first that can be started is taken. */
  programs: readonly Program[];
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
  let shortage: unknown = null;
  let onShortage: ((error: unknown) => void) | null = null;
  const failed = (error: unknown) => {
    if (!isShortage(error)) return;
    shortage = error;
    onShortage?.(error);
  };
  const unusable: string[] = [];
  for (const { file, args: before } of programs) {
    const why = whyNoProgram(file);
    if (why !== null) {
      unusable.push(`${file}: ${why}`);
      continue;
    }
    child = trySpawn({ file, args: [...before, ...args], env }, end, failed);
    if (child !== null) break;
  }
  // Somebody is about to put another one there, or to give a right back.
  if (unusable.length === programs.length) shortage = new Error(unusable.join(', '));
  closeChannelEnd(end);
  return {
    pid: child?.pid ?? null,
    onShortage(callback) {
      onShortage = callback;
      if (shortage !== null) callback(shortage);
    },
    onExit: (callback) =>
      void child?.once('exit', (code, signal) =>
        callback(signal === null ? `exited with code ${code}` : `was ended by ${signal}`),
      ),
  };
}

/** What may be had a moment later: fork(2), pipe(2). */
export function isShortage(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'].includes(errorCode(error) ?? '');
}

function trySpawn(
  { file, args, env }: Program & { env: NodeJS.ProcessEnv },
  { stream, datagrams }: ChannelEnd,
  failed: (error: unknown) => void,
): ChildProcess | null {
  let clear: ReturnType<typeof clearOfPlaces> | null = null;
  try {
    clear = clearOfPlaces([stream, datagrams]);
    const child = spawn(file, args, {
      cwd: '/',
      detached: true,
      env: { ...env, [channelVariable]: '3,4' },
      stdio: ['inherit', 'inherit', 'inherit', ...clear.fds],
    });
    child.on('error', failed); // there is no pid then, which is looked at
    return child.pid === undefined ? null : child;
  } catch (error) {
    failed(error); // Deno throws where Node tells later
    return null;
  } finally {
    clear?.close();
  }
}
