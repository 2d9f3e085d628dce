/**
 * A successor that is to be the child of whoever started its predecessor: a service manager hears of the end of
 * its own children alone, and complains about a main process that is none (systemd: "not our child").
 */
import { spawn } from 'node:child_process';
import { quoted } from '../endpoint/error.ts';
import { GraceError, errorMessage } from '../error.ts';
import type { Program } from './shapes.ts';

/** Variable that tells a process to start the one that is meant, in its own process group, and to end. */
export const asideVariable = 'GRACE_STEP_ASIDE';

/** Start the same program with the same arguments and every descriptor that was passed on (LISTEN_FDS), and end: the system gives it another parent. */
export function stepAside({ file, args }: Program, ownArguments: readonly string[]): void {
  const { [asideVariable]: _, ...env } = process.env;
  const passed = env['LISTEN_FDS'] ?? '0';
  if (!/^[0-9]{1,5}$/.test(passed))
    throw new GraceError(`cannot step aside: LISTEN_FDS is ${quoted(passed)}`, {
      hint: `${asideVariable} is for processes of grace alone: unset it`,
    });
  const descriptors = 3 + Number(passed);
  const child = spawn(file, [...args, ...ownArguments], {
    env,
    stdio: Array.from({ length: descriptors }, (_each, fd) => fd),
  });
  child.once('spawn', () => process.exit(0));
  child.once('error', (error) => {
    process.stderr.write(`cannot start ${file}: ${errorMessage(error)}\n`, () => process.exit(1));
  });
}
