import { errorCode, GraceError } from '../error.ts';
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
export type TcpAddress = { host?: string; port: number };
export type UnixAddress = { path: string; mode?: number };

/**
 * Understand an address.
 *
 * @throws GraceError when it is none.
 */
export function parseAddress(address: Address): TcpAddress | UnixAddress {
  if (typeof address === 'number') return checkPort({ port: address }, String(address));
  if (typeof address === 'object') return 'path' in address ? address : checkPort(address, String(address.port));
  if (address.startsWith('unix:')) return { path: address.slice('unix:'.length) };
  if (address.startsWith('@')) return { path: `\0${address.slice(1)}` };
  if (address.includes('/')) return { path: address };
  const match = /^(?:(?:\[([0-9a-f:.]+(?:%[^\]]+)?)\]|([^:[\]]*)):)?([0-9]+)$/i.exec(address);
  if (match === null) throw badAddress(address);
  return checkPort({ host: match[1] ?? match[2] ?? '', port: Number(match[3]) }, address);
}

function checkPort(address: TcpAddress, text: string): TcpAddress {
  if (Number.isInteger(address.port) && address.port >= 0 && address.port <= 65535) return address;
  throw badAddress(text);
}

function badAddress(text: string): GraceError {
  return new GraceError(`cannot parse address "${text}": expected HOST:PORT, :PORT or the path of a Unix socket`, { exitCode: 2 });
}

/** The inherited listener for an address, or a new one. Throws GraceError. */
export async function listenOn(net: Net, address: Address): Promise<Listener> {
  const parsed = parseAddress(address);
  if ('path' in parsed) return net.listenUnix(parsed);
  const { host = '', port } = parsed;
  if (host !== '') return net.listenTCP({ host, port });
  try {
    // `::` takes IPv4 clients as well, unless the administrator has said otherwise.
    return await net.listenTCP({ host: '::', port, name: `/${port}` });
  } catch (error) {
    const code = error instanceof Error ? errorCode(error.cause) : undefined;
    if (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL') throw error;
    return net.listenTCP({ host: '0.0.0.0', port, name: `/${port}` });
  }
}
