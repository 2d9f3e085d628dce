import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { call } from '../control/client.ts';
import type { Invocation } from '../control/messages.ts';
import { GraceError, errorMessage } from '../error.ts';
import type { Context, Input } from './context.ts';
import { parseDuration } from './duration.ts';
import { counted, printLine } from './output.ts';

/** `grace restart [--exec PATH] [--timeout DURATION]` */
export async function restart(context: Context, input: Input): Promise<number> {
  const { dir, signal, self, cwd, stdout } = context;
  const timeoutMs = parseDuration(input.value('timeout') ?? '10s', '--timeout');
  const path = input.value('exec');
  const exec = path === undefined ? self : executableAt(resolve(cwd, path));
  const { oldPid, newPid, oldVersion, newVersion, draining } = await call(dir, { command: 'restart', exec, timeoutMs }, { signal });
  printLine(stdout, `Restarted: pid ${oldPid} (${oldVersion}) -> pid ${newPid} (${newVersion})`);
  if (draining > 0) printLine(stdout, `${counted(draining, 'open connection')} will finish in the old process`);
  return 0;
}

function executableAt(file: string): Invocation {
  try {
    accessSync(file, constants.X_OK);
  } catch (error) {
    throw new GraceError(`cannot restart with ${file}: ${errorMessage(error)}`, { cause: error });
  }
  if (!statSync(file).isFile()) throw new GraceError(`cannot restart with ${file}: it is not a file`);
  return { file, args: [] };
}
