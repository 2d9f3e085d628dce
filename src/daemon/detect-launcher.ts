/** Finds out who started this process as a daemon, and speaks to a client or a terminal. */
import { handoverVariable, launchVariable } from '../control/launch.ts';
import { attachToPredecessor } from './handover/predecessor.ts';
import { Console } from './log/console.ts';
import { patienceMs, sendIfHeard } from './standard-output.ts';
import type { Launcher } from './launcher.ts';

/** Find out who started this process. The variables that tell are removed, so that no child inherits them. */
export async function detectLauncher(env: NodeJS.ProcessEnv): Promise<Launcher> {
  const isLaunched = env[launchVariable] !== undefined;
  const isSuccessor = env[handoverVariable] !== undefined;
  delete env[launchVariable];
  delete env[handoverVariable];
  if (isSuccessor) return attachToPredecessor();
  return isLaunched ? client() : foreground();
}

function foreground(): Launcher {
  const console = new Console(2);
  return {
    kind: 'foreground',
    handover: null,
    note: (text) => console.write(`grace: ${text}\n`),
    failed: () => {}, // whoever called runDaemon prints it
    ready: () => Promise.resolve({}),
    serving: () => {},
    moving: null,
    isDead: () => Promise.resolve(false),
  };
}

function client(): Launcher {
  let waitMs = patienceMs;
  return {
    kind: 'client',
    handover: null,
    note(text) {
      // Of a client that is stopped one note finds out, and the next ones do not wait.
      waitMs = sendIfHeard({ note: text }, { waitMs }) ? patienceMs : 0;
    },
    failed: (failure) => void sendIfHeard({ failed: failure }),
    ready: () => Promise.resolve({}),
    serving({ settleStreams }) {
      sendIfHeard({ ready: true });
      settleStreams();
    },
    moving: null,
    isDead: () => Promise.resolve(false),
  };
}
