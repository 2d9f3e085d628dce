import type { DaemonSettings } from '../control/daemon-options.ts';
import type { Program } from '../control/shapes.ts';
import type { OnSignal } from './signals.ts';

/** How a daemon is started. */
export type DaemonOptions = {
  dir: string;
  /** How this program was started, to start a successor at a signal. */
  self: Program;
  version: string;
  /** A file's absolute path, or `-` for standard error. */
  logPlace: string;
  settings: DaemonSettings;
  /** Arguments of `grace daemon` that a successor is to have too. */
  flags: readonly string[];
  /** Why there is no keeper although one was wanted; null otherwise. */
  noKeeperBecause: string | null;
  /** Where the environment is read; variables meant for this process alone are removed from it. */
  env: NodeJS.ProcessEnv;
  /** Calls the handler at each such signal, instead of the signal's default. */
  onSignal: OnSignal;
  /** Calls the handler with each error that nobody has caught, which then does not end the process. */
  onStrayError: (handler: (error: unknown) => void) => void;
};
