/** Finds out who started this process as a daemon, and speaks to a client or a terminal. */
import { writeSync } from 'node:fs';
import { handoverVariable, launchVariable } from '../control/launch.ts';
import { attachToPredecessor } from './handover/predecessor.ts';
import { sendIfHeard } from './standard-output.ts';
import type { Launcher } from './launcher.ts';

/** Find out who started this process. The variables that tell are removed, so that no child inherits them. */
export async function detectLauncher(env: NodeJS.ProcessEnv): Promise<Launcher> {
  const isLaunched = env[launchVariable] !== undefined;
  const isSuccessor = env[handoverVariable] !== undefined;
  delete env[launchVariable];
  delete env[handoverVariable];
  if (isSuccessor) return attachToPredecessor();
  return isLaunched ? client : foreground;
}

const foreground: Launcher = {
  kind: 'foreground',
  handover: null,
  note: (text) => void writeSync(2, `grace: ${text}\n`),
  failed: () => {}, // whoever called runDaemon prints it
  ready: () => Promise.resolve({}),
  serving: () => {},
  moving: null,
  isDead: () => Promise.resolve(false),
};

const client: Launcher = {
  kind: 'client',
  handover: null,
  note: (text) => sendIfHeard({ note: text }),
  failed: (failure) => sendIfHeard({ failed: failure }),
  ready: () => Promise.resolve({}),
  serving({ settleStreams }) {
    sendIfHeard({ ready: true });
    settleStreams();
  },
  moving: null,
  isDead: () => Promise.resolve(false),
};
