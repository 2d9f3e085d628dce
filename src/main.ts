/**
 * The executable: client and daemon at once. This file alone reads the process's arguments, sets its
 * exit code and listens to its signals.
 */
import { runCli } from './cli/cli.ts';
import type { Entrypoints } from './cli/context.ts';
import { asideVariable, stepAside } from './control/step-aside.ts';
import { callersEnvironment, leaveForeignEnvironment } from './environment.ts';
import { givenArguments, workingDirectory } from './given-names.ts';
import { channelVariable, stateVariable } from './keeper/messages.ts';
import { originalInvocation, ownArguments } from './net/invocation.ts';
import type { Invocation } from './net/invocation.ts';
import { commit, version } from './version.ts';

async function main(): Promise<void> {
  leaveForeignEnvironment();
  process.umask(process.umask() & 0o077); // not even a script's umask may lock a user out of the state dir
  if (process.env[stateVariable] !== undefined) return await resumeAsKeeper();
  if (process.env[asideVariable] !== undefined) return stepAside(originalInvocation(), ownArguments());
  const interruption = new AbortController();
  const interrupt = () => interruption.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt);
  const self = originalInvocation();
  process.exitCode = await runCli({
    argv: givenArguments(),
    env: process.env,
    cwd: workingDirectory(self.cwd), // process.cwd() throws when the directory is gone
    stdout: process.stdout,
    stderr: process.stderr,
    async readStdin({ maxBytes }) {
      const { readWithin } = await import('./cli/bounded-input.ts');
      return await readWithin(process.stdin, { maxBytes, what: 'stdin' });
    },
    isTTY: process.stdout.isTTY === true,
    signal: interruption.signal,
    onSignal(signal, handler) {
      process.on(signal, handler);
      return () => void process.removeListener(signal, handler);
    },
    callersEnv: callersEnvironment,
    self,
    version,
    async versionDetails() {
      const { engineHere } = await import('./engine/here.ts');
      const { platform, arch, versions } = process;
      const runtime = 'Deno' in globalThis ? `deno ${versions['deno']}` : `node ${process.version}`;
      return [
        `commit ${commit ?? 'unknown (run from source)'}`,
        `${runtime} (${platform} ${arch})`,
        `engine ${engineHere()}`,
      ];
    },
    programs: programsOf({ self, interrupt }),
  });
  // Whatever a library may still hold must not keep a command from ending.
  process.exit();
}

/** What runs in this process until it ends, by itself or by a signal: SIGINT is no interruption of a command then. */
function programsOf({ self, interrupt }: { self: Invocation; interrupt: () => void }): Entrypoints {
  return {
    async daemon({ dir, rules, keeper, log, settings, flags }) {
      process.removeListener('SIGINT', interrupt);
      const onSignal = (signal: NodeJS.Signals, handler: () => void) => void process.on(signal, handler);
      const { env } = process;
      if (settings.user !== null || settings.group !== null) {
        const { becomeUser } = await import('./daemon/become-user.ts');
        const onNote = (note: string) => void process.stderr.write(`grace: ${note}\n`);
        await becomeUser({ dir, rules, settings, self, env, onNote });
      }
      const { standAlone } = await import('./daemon/stand-alone.ts');
      standAlone(env);
      const { logVariable, placeOfLog } = await import('./control/log-place.ts');
      const logPlace = (env[logVariable] = placeOfLog({ dir, wanted: log, env }));
      const { giveRules } = await import('./control/given-rules.ts');
      const { handoverVariable } = await import('./control/launch.ts');
      const { checkAdmin } = await import('./control/admin.ts');
      // What served before this process is not to end for a file that has been lost since.
      if (env[channelVariable] === undefined && env[handoverVariable] === undefined) checkAdmin(settings);
      // The keeper's daemons are started by this very command, without rules: theirs come from here.
      if (env[channelVariable] === undefined) giveRules(env, rules);
      const { isKeeperWanted, whyNotKeeper } = await import('./keeper/decide.ts');
      const isWanted = keeper !== false && isKeeperWanted(env);
      const noKeeperBecause = isWanted ? whyNotKeeper() : null;
      if (isWanted && noKeeperBecause === null) {
        const { runKeeper } = await import('./keeper/keeper.ts');
        return await runKeeper({
          onStrayError,
          dir,
          self,
          args: ['-d', dir, 'daemon', ...flags],
          version,
          env,
          onSignal,
        });
      }
      const { makeRoomForLookups } = await import('./engine/lookup.ts');
      makeRoomForLookups(env);
      const { runDaemon } = await import('./daemon/run.ts');
      return await runDaemon({
        onStrayError,
        dir,
        self,
        version,
        flags,
        settings,
        logPlace,
        noKeeperBecause,
        env,
        onSignal,
      });
    },
    async demo({ addresses, tlsAddresses, print }) {
      process.removeListener('SIGINT', interrupt); // the library ends gracefully at it
      const { runDemo } = await import('./demo/demo.ts');
      await runDemo({ print, ...(addresses ? { addresses } : {}), ...(tlsAddresses ? { tlsAddresses } : {}) });
      return 0;
    },
  };
}

/** Errors that nobody has caught go to the handler instead of ending the process. */
function onStrayError(handler: (error: unknown) => void): void {
  process.on('uncaughtException', handler);
  process.on('unhandledRejection', handler);
}

/** The keeper has become this version, in its process. Signals come at any moment, so nothing else is done first. */
async function resumeAsKeeper(): Promise<void> {
  const onSignal = (signal: NodeJS.Signals, handler: () => void) => void process.on(signal, handler);
  const { resumeKeeper } = await import('./keeper/keeper.ts');
  process.exit(await resumeKeeper({ onStrayError, self: originalInvocation(), version, env: process.env, onSignal }));
}

/** What nobody has caught is told as any other error is: no start ends with a trace of the program. */
async function tell(error: unknown): Promise<void> {
  const { printError } = await import('./cli/output.ts');
  printError({ stderr: process.stderr, env: process.env }, error);
  process.exit(1);
}

main().catch(tell);
