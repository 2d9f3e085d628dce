import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { call } from '../../control/client.ts';
import type { Result } from '../../control/messages.ts';
import type { Program } from '../../control/shapes.ts';
import { GraceError, errorCode, errorMessage } from '../../error.ts';
import { mustNotBeEmpty } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { parseDurationOption } from '../duration.ts';
import { counted, printJson, printLine } from '../output.ts';

/** `grace restart [--exec PATH] [--timeout DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, self, cwd, stdout } = context;
  const timeoutMs = parseDurationOption(input.value('timeout') ?? '10s', '--timeout');
  const path = input.value('exec');
  mustNotBeEmpty(path, { what: 'option --exec', needs: 'a file' });
  const exec = path === undefined ? self : executableAt(resolve(cwd, path));
  const result = await call(dir, { command: 'restart', exec, timeoutMs }, { signal });
  const { oldPid, newPid, oldVersion, newVersion, moved = 0, movedTls = 0, draining, staying = [] } = result;
  if (input.has('json'))
    printJson(context, { oldPid, newPid, oldVersion, newVersion, moved, movedTls, draining, staying });
  else printLine(stdout, describeRestart(result));
  return 0;
}

/** What a restart has done: a line of the processes, one of what moved, one of what stays and why. `dir`: of which of several daemons. */
export function describeRestart(
  { oldPid, newPid, oldVersion, newVersion, moved = 0, movedTls = 0, draining, why }: Result<'restart'>,
  dir?: string,
): string {
  return [
    `Restarted${dir === undefined ? '' : ` ${dir}`}: pid ${oldPid} (${oldVersion}) -> pid ${newPid} (${newVersion})`,
    ...(moved > 0 ? [`Moved ${counted(moved, 'connection')} (${movedTls} with TLS)`] : []),
    ...(draining > 0
      ? [`${counted(draining, 'open connection')} will finish in the old process${why === undefined ? '' : `: ${why}`}`]
      : []),
  ].join('\n');
}

function executableAt(file: string): Program {
  try {
    if (!statSync(file).isFile()) throw new GraceError('it is not a file');
    accessSync(file, constants.X_OK);
  } catch (error) {
    throw new GraceError(`cannot restart with ${file}: ${reasonOf(error)}`, {
      hint: 'nothing was changed; name an executable with --exec PATH',
      cause: error,
    });
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
