import { writeSync } from 'node:fs';
import { launchVariable } from '../control/launch.ts';
import { logVariable, standardError } from '../control/log-place.ts';
import { statePaths } from '../control/paths.ts';
import { redirectToLog } from '../control/standard-streams.ts';

/**
 * The keeper's standard streams, which its daemons inherit. They belong to whoever launched it in the
 * background until a daemon serves, and go into the log from then on; in the foreground they stay.
 */
export class KeeperConsole {
  readonly isBackground: boolean;
  readonly #log: string;
  /** Whether lines are JSON, as those of the daemon's log. */
  readonly #isJson: boolean;
  /** Whether a client waits to hear how the first daemon comes up. */
  #isAwaited: boolean;

  /** The variable that tells of a launch is removed. */
  constructor({
    dir,
    env,
    args,
    wasBackground,
  }: {
    dir: string;
    env: NodeJS.ProcessEnv;
    args: readonly string[];
    wasBackground: boolean;
  }) {
    const format = args.indexOf('--log-format');
    this.#isJson = format !== -1 && args[format + 1] === 'json';
    const log = env[logVariable];
    this.#log = log === undefined || log === standardError ? statePaths(dir).log : log;
    this.#isAwaited = env[launchVariable] !== undefined;
    this.isBackground = this.#isAwaited || wasBackground;
    delete env[launchVariable];
  }

  /** The environment of the next daemon: the first one answers the client. */
  environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    return this.#isAwaited ? { ...env, [launchVariable]: '1' } : env;
  }

  /** Nobody waits any more. */
  answered(): void {
    this.#isAwaited = false;
  }

  print(text: string): void {
    try {
      const line = this.#isJson
        ? JSON.stringify({ level: 'warn', time: new Date().toISOString(), pid: process.pid, msg: text })
        : `grace: ${text}`;
      writeSync(2, `${line}\n`);
    } catch {
      // Nobody reads it.
    }
  }

  /** What a background process prints is found in the log, which may be another file by now. */
  redirect(): void {
    if (!this.isBackground) return;
    try {
      redirectToLog(this.#log);
    } catch {
      // A log that cannot be opened must not end the keeper.
    }
  }
}
