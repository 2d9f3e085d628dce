/**
 * Where the daemon answers over HTTP, as `--admin` says, and who may ask there: whoever reaches an address of this
 * machine alone; elsewhere only who has a certificate or the token of `--admin-token`.
 */
import { statSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { EndpointError, quoted } from '../endpoint/error.ts';
import type { BindableServer, ServerEndpoint } from '../endpoint/model.ts';
import { readText } from '../endpoint/named-file.ts';
import { resolvePaths } from '../endpoint/paths.ts';
import { printServer } from '../endpoint/print.ts';
import { parseServer } from '../endpoint/server.ts';
import { GraceError, errorMessage } from '../error.ts';

/** What `--admin` and `--admin-token` said: an endpoint with absolute paths, the path of a file; null for what was not given. */
export type AdminSettings = { readonly admin: string | null; readonly 'admin-token': string | null };

/** Permissions of a Unix socket without `mode`: what it tells is for the daemon's user and root. */
const privateMode = '600';

/** Fewest and most characters of a token. */
const tokenLength = { min: 16, max: 4096 };

/** Of an endpoint's parameters, those that are heeded here; any other would be passed over in silence, `deny` for one. */
const heeded: ReadonlySet<string> = new Set(
  `type port interface backlog freebind address mode lockfile domain index name fd path privateKey certKey sslmethod
  extraCertChain dhParameters sni clientCA clientAuth passphrase minTLS ciphers groups`.split(/\s+/),
);

/** The endpoint of `--admin`. Throws GraceError (exit code 2) for what is none, or none for this. */
export function readAdmin(text: string): BindableServer {
  let endpoint: ServerEndpoint;
  try {
    endpoint = parseServer(text);
  } catch (error) {
    throw usageError(`--admin: ${errorMessage(error)}`, error instanceof GraceError ? error.hint : undefined);
  }
  if (endpoint.type === 'stdio' || endpoint.type === 'haproxy')
    throw usageError(
      `--admin takes an endpoint to listen on for HTTP, not ${endpoint.type}:`,
      'as in --admin unix:/run/grace-admin.sock, or --admin tcp:9900:interface=127.0.0.1',
    );
  const unheeded = Object.keys(endpoint).filter((name) => !heeded.has(name));
  if (unheeded.length > 0)
    throw usageError(`--admin does not heed ${unheeded.join(', ')} of ${quoted(text)}`, 'leave it out');
  return endpoint;
}

/** The same with absolute paths, and with the mode of a Unix socket, which is 600 here where none is given. Throws as {@link readAdmin}. */
export function absoluteAdmin(text: string, cwd: string): string {
  const endpoint = resolvePaths(readAdmin(text), cwd);
  if (endpoint.type !== 'unix' || endpoint.address.startsWith('\0')) return printServer(endpoint);
  // What is printed leaves out the mode that any other endpoint has by default.
  const mode = hasMode(text) ? endpoint.mode : privateMode;
  return `${printServer({ ...endpoint, mode: '666' })}:mode=${mode}`;
}

/** Given a second time it would be refused. */
function hasMode(text: string): boolean {
  try {
    parseServer(`${text}:mode=${privateMode}`);
    return false;
  } catch {
    return true;
  }
}

/** Whether only this machine reaches an address. A name may be that of any. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  const plain = host.replace(/^::ffff:(?=[0-9.]+$)/i, '');
  return isIPv4(plain) ? plain.startsWith('127.') : isIPv6(plain) && new URL(`http://[${plain}]`).hostname === '[::1]';
}

/** Whether every client has to have a certificate. */
export function demandsCertificate(endpoint: BindableServer): boolean {
  return 'clientCA' in endpoint && endpoint.clientAuth !== 'optional';
}

/** The error for an address that others reach while anybody may ask there. */
export function unguardedError(where: string): GraceError {
  return usageError(
    `--admin ${where} is reached from other machines, where anybody could ask`,
    'add :interface=127.0.0.1, or name a file with a token (--admin-token FILE), or use ssl: or tls: with clientCA=FILE',
  );
}

/**
 * Everything that can be said before a daemon is started: throws GraceError (exit code 2) for settings that contradict
 * each other, leave an address of the network to everybody, or name a token that cannot be used.
 */
export function checkAdmin({ admin, 'admin-token': token }: AdminSettings): void {
  if (token !== null) readToken(token);
  if (admin === null) {
    if (token !== null) throw usageError('--admin-token is for --admin, and there is no --admin');
    return;
  }
  const endpoint = readAdmin(admin);
  const isReached = 'interface' in endpoint && !isLoopback(endpoint.interface);
  if (isReached && token === null && !demandsCertificate(endpoint)) throw unguardedError(admin);
}

/** The token in a file that is nobody else's to read. Throws GraceError (exit code 2), which does not say what is in it. */
export function readToken(file: string): string {
  const refused = (problem: string, hint?: string) => usageError(`--admin-token ${quoted(file)}: ${problem}`, hint);
  let text: string;
  try {
    text = readText({ parameter: '--admin-token', path: file, text: file });
  } catch (error) {
    throw error instanceof EndpointError ? usageError(error.reason, error.hint) : error;
  }
  const { mode, uid } = statSync(file);
  if ((mode & 0o027) !== 0)
    throw refused('others may read or change it', `chmod 600 ${file}, or 640 for a group that may know it`);
  if (uid !== 0 && uid !== process.geteuid?.()) throw refused('it belongs to another user', `chown it`);
  const token = text.trim();
  if (!/^[!-~]*$/.test(token)) throw refused('a token is one word of printable characters');
  if (token.length < tokenLength.min || token.length > tokenLength.max)
    throw refused(
      `a token has ${tokenLength.min} to ${tokenLength.max} characters, and this one has ${token.length}`,
      `make one: openssl rand -hex 32 > ${file}`,
    );
  return token;
}

/** The path of `--admin-token` as another process finds it. Throws GraceError (exit code 2) for an empty one. */
export function absoluteToken(text: string, cwd: string): string {
  if (text === '') throw usageError('--admin-token takes a file');
  return resolve(cwd, text);
}

function usageError(message: string, hint?: string): GraceError {
  return new GraceError(message, { hint, code: 'ERR_GRACE_USAGE' });
}
