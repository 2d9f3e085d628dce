/** Hints as the one who reads them can use them: for the state dir that was asked, and with a word about the one that was meant. */
import { statSync } from 'node:fs';
import { statePaths } from '../control/paths.ts';
import { GraceError, errorCode } from '../error.ts';
import { isNoDaemon } from '../kinds.ts';
import { commands } from '../control/commands.ts';

/** State dir of the unit files and init scripts. */
export const serviceDir = '/var/lib/grace';

/** What a hint is fitted to. */
export type HintOptions = {
  /** The state dir that was asked, absolute. */
  dir: string;
  /** What `-d` said; undefined without it. */
  option: string | undefined;
  /** Default: /var/lib/grace. */
  service?: string;
};

/** The same error with the hint for this reader. */
export function withUsefulHint(error: unknown, { dir, option, service = serviceDir }: HintOptions): unknown {
  if (!(error instanceof GraceError)) return error;
  const other = !isNoDaemon(error)
    ? null
    : isFile(dir)
      ? `${dir} is not a directory; choose another with -d DIR`
      : dir !== service
        ? otherDaemon(service)
        : null;
  const hint = other ?? (error.hint === undefined || option === undefined ? error.hint : withDir(error.hint, option));
  return hint === error.hint ? error : new GraceError(error.message, { hint, code: error.code, cause: error });
}

/** `grace stop` becomes `grace -d DIR stop`. */
function withDir(hint: string, dir: string): string {
  const names = commands.flatMap(({ name, aliases }) => [name, ...aliases]).join('|');
  return hint.replace(new RegExp(`\\bgrace (?=(?:${names})\\b)`, 'g'), () => `grace -d ${quotedForShell(dir)} `);
}

function quotedForShell(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Whether a daemon has a control socket in this state dir, as far as this user may see. */
export function hasDaemon(dir: string): boolean {
  try {
    return statSync(statePaths(dir).socket, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

function otherDaemon(service: string): string | null {
  try {
    return statSync(statePaths(service).socket, { throwIfNoEntry: false })
      ? `one runs in ${service}: grace -d ${service} …`
      : null;
  } catch (error) {
    return errorCode(error) === 'EACCES'
      ? `the one of the service is another user's: sudo grace -d ${service} …`
      : null;
  }
}
