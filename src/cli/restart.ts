import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { call } from '../control/client.ts';
import type { Invocation } from '../control/messages.ts';
import { GraceError, errorCode, errorMessage } from '../error.ts';
import type { Context, Input } from './context.ts';
import { parseDuration } from './duration.ts';
import { counted, printJson, printLine } from './output.ts';

/** `grace restart [--exec PATH] [--timeout DURATION]` */
export async function restart(context: Context, input: Input): Promise<number> {
  const { dir, signal, self, cwd, stdout } = context;
  const timeoutMs = parseDuration(input.value('timeout') ?? '10s', '--timeout');
  const path = input.value('exec');
  const exec = path === undefined ? self : executableAt(resolve(cwd, path));
  const { oldPid, newPid, oldVersion, newVersion, draining } = await call(dir, { command: 'restart', exec, timeoutMs }, { signal });
  if (input.has('json')) {
    printJson(context, { oldPid, newPid, oldVersion, newVersion, draining });
    return 0;
  }
  printLine(stdout, `Restarted: pid ${oldPid} (${oldVersion}) -> pid ${newPid} (${newVersion})`);
  if (draining > 0) printLine(stdout, `${counted(draining, 'open connection')} will finish in the old process`);
  return 0;
}

function executableAt(file: string): Invocation {
  try {
    if (!statSync(file).isFile()) throw new GraceError('it is not a file');
    accessSync(file, constants.X_OK);
  } catch (error) {
    throw new GraceError(`cannot restart with ${file}: ${reasonOf(error)}`, { hint: 'nothing was changed; name an executable with --exec PATH', cause: error });
  }
  return { file, args: [] };
}

function reasonOf(error: unknown): string {
  switch (errorCode(error)) {
    case 'ENOENT':
      return 'there is no such file (ENOENT)';
    case 'EACCES':
      return 'it may not be executed (EACCES)';
    default:
      return errorMessage(error);
  }
}
