/**
 * Runs pkg with this program's arguments, and with what pkg itself has no option for: the flags of
 * Node in the executable (`execArgv` of a SEA configuration).
 */
import { createRequire } from 'node:module';

type SeaOptions = { seaConfig?: { execArgv: readonly string[]; execArgvExtension: 'none' } };
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

const require = createRequire(import.meta.url);
const sea: { default: MakeSea } = require('@yao-pkg/pkg/lib-es5/sea.js');
const makeSea = sea.default;
sea.default = (entryPoint, options) => makeSea(entryPoint, { ...options, seaConfig: { execArgv: nodeFlags, execArgvExtension: 'none' } });
const { exec }: { exec(args: readonly string[]): Promise<void> } = require('@yao-pkg/pkg');
await exec(process.argv.slice(2));
