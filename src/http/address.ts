import net from 'node:net';
import { errorCode, GraceError } from '../error.ts';
import { badArgument, checkNames, isRecord } from '../net/argument.ts';
import type { Listener } from '../net/listener.ts';
import type { Net } from '../net/net.ts';

/**
 * Where a server listens.
 *
 * - a number: that TCP port on every address; 0 lets the system choose
 * - `":8080"`, `"127.0.0.1:8080"`, `"[::1]:8080"`, `"localhost:8080"`: TCP; without host on every address
 * - `"/run/x.sock"`, `"./x.sock"`, `"unix:x.sock"`: a Unix socket; `"@name"`: an abstract one (Linux)
 * - the same as an object; `mode` is that of the Unix socket's file, 0o666 by default
 */
export type Address = string | number | TcpAddress | UnixAddress;
/** A port on one host, or on all where none is named; 0 lets the system choose. */
export type TcpAddress = { host?: string; port: number };
/** A path, and the mode of the socket file: 0666 where none is named. */
export type UnixAddress = { path: string; mode?: number };

/**
 * Understand an address.
 *
 * @throws GraceError when it is none.
 */
export function parseAddress(address: Address): TcpAddress | UnixAddress {
  if (typeof address === 'number') return checkPort({ port: address }, String(address));
  if (isRecord(address)) return parseObject(address);
  if (typeof address !== 'string')
    throw badArgument('address', 'a string, a port, { host, port } or { path }', address);
  const other = ofAnotherKind(address);
  if (other !== null) throw badAddress(address, other);
  if (address.startsWith('unix:')) return checkPath({ path: address.slice('unix:'.length) }, address);
  if (address.startsWith('@')) return checkPath({ path: `\0${address.slice(1)}` }, address);
  if (address.includes('/')) return { path: address };
  const match = /^(?:(?:\[([0-9a-f:.]+(?:%[^\]]+)?)\]|([\w.-]*|\*)):)?([0-9]+)$/i.exec(address);
  if (match === null) throw badAddress(address);
  if (Number(match[3]) > 65_535) throw badAddress(address, 'a port is 0 to 65535');
  const [, ipv6, name = '', port] = match;
  if ((ipv6 !== undefined && !net.isIPv6(ipv6)) || (/^[0-9.]+$/.test(name) && !net.isIPv4(name)))
    throw badAddress(address);
  return checkPort({ host: ipv6 ?? (name === '*' ? '' : name), port: Number(port) }, address);
}

function parseObject(address: Record<string, unknown>): TcpAddress | UnixAddress {
  const { path, mode, host, port } = address;
  // Of Deno.serve and of a URL it is the word, and a host that is passed over means every network.
  if ('hostname' in address)
    throw new GraceError('address: there is no "hostname"', {
      code: 'ERR_GRACE_ADDRESS',
      hint: 'did you mean "host"?',
    });
  checkNames('address', address, path === undefined ? ['host', 'port'] : ['path', 'mode']);
  if (path === undefined) {
    if (typeof port !== 'number') throw badArgument('address.port', 'a number', port);
    if (host !== undefined && typeof host !== 'string') throw badArgument('address.host', 'a string', host);
    return checkPort({ ...(host !== undefined && { host }), port }, String(port));
  }
  if (typeof path !== 'string') throw badArgument('address.path', 'a string', path);
  if (mode !== undefined && typeof mode !== 'number')
    throw badArgument('address.mode', 'a file mode such as 0o660', mode);
  return checkPath({ path, ...(mode !== undefined && { mode }) }, path);
}

/**
 * What was meant by a string that is an address elsewhere: a URL, an endpoint of `grace start`. Taken as a host or
 * a path it would be looked for where it cannot be.
 */
function ofAnotherKind(text: string): string | null {
  const [, scheme = '', slashes, rest = ''] = /^([a-z][a-z0-9+.-]*):(\/\/)?(.*)$/i.exec(text) ?? [];
  if (slashes === undefined && !ENDPOINT_TYPES.has(scheme.toLowerCase())) return null;
  if (scheme === 'unix' || scheme === 'file') return `a path is written as it is: "${rest}"`;
  const [, hostAndPort] = /^([^/?#]*)/.exec(rest.replace(/^[^/@]*@/, '')) ?? [];
  const hasPort = hostAndPort !== undefined && /:?[0-9]+$/.test(hostAndPort);
  const text2 = hasPort ? hostAndPort : `${hostAndPort}:${['https', 'wss', 'tls', 'ssl'].includes(scheme) ? 443 : 80}`;
  const plain = /^[0-9]+(:|$)/.test(text2) && slashes === undefined ? `:${/^[0-9]+/.exec(text2)?.[0]}` : text2;
  return `an address has no type and no URL in it: "${plain}"`;
}

/** The words before the first colon that say of what kind an endpoint is; a host of that name goes into `{ host, port }`. */
const ENDPOINT_TYPES = new Set([
  'tcp',
  'tcp4',
  'tcp6',
  'udp',
  'tls',
  'ssl',
  'fd',
  'systemd',
  'haproxy',
  'stdio',
  'http',
  'https',
  'ws',
  'wss',
  'file',
]);

function checkPath(address: UnixAddress, text: string): UnixAddress {
  if (address.path === '' || address.path === '\0' || address.path.includes('\0', 1)) throw badAddress(text);
  return address;
}

function checkPort(address: TcpAddress, text: string): TcpAddress {
  if (Number.isInteger(address.port) && address.port >= 0 && address.port <= 65535) return address;
  throw badAddress(text);
}

function badAddress(text: string, hint?: string): GraceError {
  return new GraceError(
    `cannot parse address "${text}": expected a port, HOST:PORT, :PORT or the path of a Unix socket`,
    { code: 'ERR_GRACE_ADDRESS', hint },
  );
}

/** The inherited listener for an address, or a new one. Throws GraceError. */
export async function listenOn(listeners: Net, address: Address): Promise<Listener> {
  const parsed = parseAddress(address);
  if ('path' in parsed) return listeners.listenUnix(parsed);
  const { host = '', port } = parsed;
  if (host !== '') return listeners.listenTCP({ host, port });
  try {
    // `::` takes IPv4 clients as well, unless the administrator has said otherwise.
    return await listeners.listenTCP({ host: '::', port, name: `/${port}` });
  } catch (error) {
    const code = error instanceof Error ? errorCode(error.cause) : undefined;
    if (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL') throw error;
    return listeners.listenTCP({ host: '0.0.0.0', port, name: `/${port}` });
  }
}
