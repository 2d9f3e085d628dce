/**
 * Runs pkg with this program's arguments, and with what pkg itself has no option for: the flags of
 * Node in the executable (`execArgv` of a SEA configuration), and V8's code cache, which saves compiling
 * the bundle at each start. V8 takes only a cache of its own machine, so an executable for another one has none.
 */
import childProcess from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';

type SeaOptions = {
  targets: readonly { platform: string; arch: string }[];
  seaConfig?: { execArgv: readonly string[]; execArgvExtension: 'none'; useCodeCache: boolean };
};
type MakeSea = (entryPoint: string, options: SeaOptions) => Promise<void>;

/**
 * - `--disable-sigusr1`: Node would answer SIGUSR1 with an open debugger port until grace listens to
 *   that signal. With the flag the signal waits, see `listenToSignals`.
 * - `--openssl-config`: instead of the file that `OPENSSL_CONF` names, or of one of the system; one that
 *   OpenSSL cannot read would end every command before it begins.
 *
 * `execArgvExtension`: `NODE_OPTIONS` adds nothing to these.
 */
const nodeFlags = ['--disable-sigusr1', '--openssl-config=/dev/null'];

/**
 * Runs the Node of the executable, which makes the blob that holds the bundle. With a seed it makes the same cache each
 * time; and the bundle goes by its name alone, so that the directory of a build is in no executable.
 */
async function makeBlob(node: string, [option, configFile]: readonly string[]): Promise<void> {
  if (option !== '--experimental-sea-config' || configFile === undefined)
    throw new Error(`pkg wants to execute ${node} with ${option}, which nobody expects`);
  const config: { main: string } = JSON.parse(await readFile(configFile, 'utf8'));
  await writeFile(configFile, JSON.stringify({ ...config, main: basename(config.main) }));
  await promisify(execFile)(node, ['--random-seed=42', option, configFile], { cwd: dirname(config.main) });
}

const { execFile } = childProcess;
const neverCalled = () => {
  throw new Error('pkg is expected to wait for what it executes');
};
Object.assign(childProcess, { execFile: Object.assign(neverCalled, { [promisify.custom]: makeBlob }) });

const require = createRequire(import.meta.url);
const sea: { default: MakeSea } = require('@yao-pkg/pkg/lib-es5/sea.js');
const makeSea = sea.default;
sea.default = (entryPoint, options) => {
  const useCodeCache = options.targets.every(
    ({ platform, arch }) => platform === process.platform && arch === process.arch,
  );
  return makeSea(entryPoint, {
    ...options,
    seaConfig: { execArgv: nodeFlags, execArgvExtension: 'none', useCodeCache },
  });
};
const { exec }: { exec(args: readonly string[]): Promise<void> } = require('@yao-pkg/pkg');
await exec(process.argv.slice(2));
