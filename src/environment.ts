/**
 * What grace does is the business of its own variables. Those by which Node, libuv, OpenSSL and the
 * resolver of the C library are set up are for programs of the caller's, and a daemon would keep them
 * for ever: a file that `NODE_OPTIONS` names is gone one day.
 *
 * `NODE_OPTIONS` and `OPENSSL_CONF` are looked at before any code of ours runs; the executable is built
 * so that they do nothing (scripts/release/pkg.ts). Of the others, some are in force when `main` begins.
 */
import { readFileSync } from 'node:fs';
import { splitAtNul } from './given-names.ts';
import { isExecutable } from './net/invocation.ts';
import { LISTEN_FDS_START } from './net/inherit.ts';
import { inheritedFds, markIfOpen } from './sys/descriptor.ts';
import { execute } from './sys/exec.ts';

const foreign =
  /^(?:NODE_|UV_|OPENSSL_|FORCE_COLOR$|RES_OPTIONS$|LOCALDOMAIN$|HOSTALIASES$|CARES_HOSTS$|WATCH_REPORT_DEPENDENCIES$|SIMDJSON_FORCE_IMPLEMENTATION$)/;

/**
 * In force already: Node reads these while it starts. `NODE_EXTRA_CA_CERTS`, which a machine may have
 * set for all, is none of them: wherever grace checks a certificate, it says itself whom to trust.
 */
const readAtStart = new Set([
  'NODE_COMPILE_CACHE',
  'NODE_DEBUG',
  'NODE_DEBUG_NATIVE',
  'NODE_ICU_DATA',
  'NODE_PENDING_DEPRECATION',
  'NODE_REDIRECT_WARNINGS',
  'NODE_TEST_CONTEXT',
  'NODE_UNIQUE_ID',
  'NODE_USE_ENV_PROXY',
  'NODE_V8_COVERAGE',
  'UV_USE_IO_URING',
  'WATCH_REPORT_DEPENDENCIES',
]);

/**
 * Take those variables out of this process's environment, and so out of that of its children. Where one
 * has had an effect, this process becomes the same program once more without it. From source nothing is
 * done: the runtime and its variables are the caller's then.
 */
export function leaveForeignEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  if (!isExecutable()) return;
  const names = Object.keys(env).filter((name) => foreign.test(name));
  if (names.some((name) => readAtStart.has(name))) beginAgain();
  for (const name of names) delete env[name];
}

/** The environment as the caller gave it, for a program of theirs: with what was taken out, but for what the process had to begin again without. */
export function callersEnvironment(): NodeJS.ProcessEnv {
  const given = whatWasGiven().variables.map((each) => each.toString('utf8'));
  const taken = given.filter((each) => foreign.test(each.slice(0, each.indexOf('='))));
  const named = taken.map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)]);
  return { ...Object.fromEntries(named), ...process.env };
}

/** Returns when that is impossible; then the variables go on having their effect on this process alone. */
function beginAgain(): void {
  const { args, variables } = whatWasGiven();
  // A program of the caller's (`hold -- CMD`) has all that it can have; a daemon has none of it.
  const isHold = args.some((each) => each.toString() === 'hold');
  const isLeft = (name: string) => (isHold ? readAtStart.has(name) : foreign.test(name));
  const passed = inheritedFds();
  try {
    for (const fd of passed) markIfOpen(fd, false);
    execute(
      process.execPath,
      args,
      variables.filter((each) => !isLeft(each.slice(0, each.indexOf('=')).toString('latin1'))),
    );
  } catch {
    for (const fd of passed) if (fd >= LISTEN_FDS_START) markIfOpen(fd, true);
  }
}

/** Byte for byte where the system tells: a file name in them need not be UTF-8. */
function whatWasGiven(): { args: Buffer[]; variables: Buffer[] } {
  try {
    return {
      args: splitAtNul(readFileSync('/proc/self/cmdline')),
      variables: splitAtNul(readFileSync('/proc/self/environ')),
    };
  } catch {
    const variables = Object.entries(process.env).map(([name, value]) => Buffer.from(`${name}=${value}`));
    return { args: [process.argv0, ...process.argv.slice(2)].map((word) => Buffer.from(word)), variables };
  }
}
