import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { launchVariable, variablesOfThisProcess } from '../../control/launch.ts';
import { GraceError } from '../../error.ts';
import type { SupervisorOptions } from './supervisor.ts';

/** Start a keeper in the background, which then asks for a channel. The promise rejects with GraceError when it ends. */
export function startKeeper({ self, dir, flags, env }: SupervisorOptions): { failure: Promise<never> } {
  const rest: NodeJS.ProcessEnv = { ...env, [launchVariable]: '1' };
  for (const name of variablesOfThisProcess) delete rest[name];
  const child = spawn(self.file, [...self.args, '-d', dir, 'daemon', ...flags], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: rest,
  });
  child.unref();
  const failure = once(child, 'exit').then(([code]): never => {
    throw new GraceError(`the new keeper ended with code ${code}`);
  });
  failure.catch(() => {}); // later it is the end of a keeper, which the channel tells
  return { failure };
}
