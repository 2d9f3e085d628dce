/** Running a program of the user's in their terminal, as a shell would. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { quoted } from '../endpoint/error.ts';
import { GraceError, errorCode, errorMessage } from '../error.ts';
import type { Context } from './context.ts';
import { printError } from './output.ts';

/** Signals that end grace, and are passed on to the program. */
const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A program that a signal did not end gets a stronger one after so long, in milliseconds; not where the terminal sent it the signal itself. */
const patienceMs = 3000;

/**
 * Run a program to its end, with the terminal and the environment. Resolves with its exit code: 128 and its number for
 * a signal, 127 when it is not found and 126 when it cannot be run, which is said on stderr. Never rejects.
 */
export function runCommand(
  [file = '', ...args]: readonly string[],
  { callersEnv, onSignal, stderr, env }: Pick<Context, 'callersEnv' | 'onSignal' | 'stderr' | 'env'>,
): Promise<number> {
  const told = (why: string, code: number): number => {
    printError({ stderr, env }, new GraceError(`cannot run ${file === '' ? quoted(file) : file}: ${why}`));
    return code;
  };
  // No runtime asks the system for one without a name.
  if (file === '') return Promise.resolve(told('not found', 127));
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: 'inherit', env: callersEnv() });
    const timers: NodeJS.Timeout[] = [];
    // A terminal sends Ctrl-C to all that run in it; a second one is for what took the first one lightly.
    let signals = 0;
    const pass = (signal: NodeJS.Signals) => {
      signals++;
      if (signals > 1 && signal === 'SIGINT') return void child.kill(signals === 2 ? 'SIGTERM' : 'SIGKILL');
      if (signal === 'SIGINT' && hasTerminal()) return;
      child.kill(signal);
      timers.push(
        setTimeout(() => child.kill('SIGTERM'), patienceMs),
        setTimeout(() => child.kill('SIGKILL'), 3 * patienceMs),
      );
    };
    const ends = passedOn.map((signal) => onSignal(signal, () => pass(signal)));
    const done = (code: number) => {
      for (const end of ends) end();
      timers.forEach(clearTimeout);
      resolve(code);
    };
    child.once('error', (error) => {
      if (child.pid !== undefined) return; // a signal that could not be sent: it has just ended
      const code = errorCode(error);
      const why = code === 'ENOENT' ? 'not found' : code === 'EACCES' ? 'permission denied' : errorMessage(error);
      done(told(why, code === 'ENOENT' ? 127 : 126));
    });
    child.once('exit', (code, signal) => done(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 0)));
  });
}

function hasTerminal(): boolean {
  return process.stdin.isTTY === true || process.stderr.isTTY === true;
}
