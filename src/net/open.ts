import dns from 'node:dns/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { errorCode, errorMessage, GraceError } from '../error.ts';
import { C, IP_FREEBIND, IPV6_FREEBIND, SOL_IP, SOL_IPV6 } from '../sys/constants.ts';
import { closeFd } from '../sys/descriptor.ts';
import { encodeName } from '../sys/file-name.ts';
import { UNIX_PATH_MAX } from '../sys/sockaddr.ts';
import { bindSocket, listenSocket, openSocket, setSocketOption } from '../sys/socket.ts';
import { limitHint } from '../sys/limit-hint.ts';
import { describeCode } from '../sys/system-error.ts';
import { badArgument, isRecord } from './argument.ts';
import { adoptFd } from './listener.ts';
import type { Listener } from './listener.ts';
import { PortHolders } from './port-holder.ts';
import { bindUnixPath } from './unix-path.ts';

/** What to do about a port that only root may open. */
export const lowPortHint = 'ports below 1024 need root or CAP_NET_BIND_SERVICE';

/** A TCP socket to listen on. */
export type TcpSpec = {
  kind: 'tcp';
  /** Address or name of a local interface; empty is every IPv4 address. IPv6 may carry a zone, `fe80::1%eth0`. */
  host: string;
  /** 0 lets the system choose. */
  port: number;
  backlog: number;
  /** Listen on an address that the machine does not have (yet), IP_FREEBIND of ip(7). Linux. Default false. */
  freebind?: boolean | undefined;
  /** Which addresses of a name to take. Default: IPv4 if it has one. */
  family?: 'inet' | 'inet6' | undefined;
};

/** A Unix socket to listen on. */
export type UnixSpec = {
  kind: 'unix';
  /** Path, made absolute here; a leading NUL means Linux's abstract namespace. */
  path: string;
  /** Permissions of the path, 0o666 and the like. */
  mode: number;
  backlog: number;
  /** Hold Twisted's lock, a symbolic link `<path>.lock` with this process's id. Default false. */
  lockfile?: boolean | undefined;
};

/** What `openListener` opens. */
export type ListenSpec = TcpSpec | UnixSpec;

/**
 * Open a listening socket: SO_REUSEADDR, without SO_REUSEPORT (whose queues are lost when a process
 * ends), IPV6_V6ONLY as the system has it.
 *
 * @param options.name for LISTEN_FDNAMES, see {@link adoptFd}
 * @throws GraceError that says why it cannot listen; its cause is the system's error.
 */
export async function openListener(spec: ListenSpec, { name = '' }: { name?: string } = {}): Promise<Listener> {
  return await openAmong(new PortHolders(), spec, { name });
}

/** The same for who opens many, of whom others may have some. */
export async function openAmong(holders: PortHolders, spec: ListenSpec, { name }: { name: string }): Promise<Listener> {
  checkSpec('openListener', spec);
  try {
    const fd = spec.kind === 'tcp' ? await openTcp(spec) : await openUnix(spec);
    try {
      return adoptFd(fd, { name });
    } catch (error) {
      closeFd(fd); // else nobody, this process neither, could listen there again
      throw error;
    }
  } catch (error) {
    throw listenError(spec, error, holders);
  }
}

/** @throws GraceError when a property of it is not of its type. */
export function checkSpec(where: string, spec: unknown): void {
  if (!isRecord(spec)) throw badArgument(where, 'an object that says where to listen', spec);
  const { kind, host, port, path: file, mode, backlog } = spec;
  if (typeof backlog !== 'number' || !Number.isInteger(backlog) || backlog < 0)
    throw badArgument(`${where}: backlog`, 'a whole number', backlog);
  if (kind === 'tcp') {
    if (typeof host !== 'string')
      throw badArgument(`${where}: host`, 'a string', host, 'an empty one is every IPv4 address');
    if (typeof port !== 'number') throw badArgument(`${where}: port`, 'a number', port);
  } else if (kind === 'unix') {
    if (typeof file !== 'string') throw badArgument(`${where}: path`, 'a string', file);
    if (typeof mode !== 'number' || !Number.isInteger(mode) || mode < 0 || mode > 0o7777)
      throw badArgument(`${where}: mode`, 'a file mode such as 0o660', mode);
  } else {
    throw badArgument(`${where}: kind`, '"tcp" or "unix"', kind);
  }
}

async function openTcp({ host, port, backlog, family, freebind = false }: TcpSpec): Promise<number> {
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new GraceError(`port ${port} is not one of 0 to 65535`);
  const address = await resolveLocal(host, family);
  const fd = openSocket(address.family);
  try {
    setSocketOption(fd, C.SOL_SOCKET, C.SO_REUSEADDR, 1);
    if (freebind) setFreebind(fd, address.family);
    bindSocket(fd, { ...address, port });
    listenSocket(fd, backlog);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function setFreebind(fd: number, family: 'inet' | 'inet6'): void {
  if (process.platform !== 'linux')
    throw new GraceError('only Linux listens on addresses that the machine does not have', {
      hint: 'leave freebind out',
    });
  if (family === 'inet') setSocketOption(fd, SOL_IP, IP_FREEBIND, 1);
  else setSocketOption(fd, SOL_IPV6, IPV6_FREEBIND, 1);
}

type NumericAddress = { family: 'inet' | 'inet6'; host: string; scopeId?: number };

async function resolveLocal(host: string, family: 'inet' | 'inet6' | undefined): Promise<NumericAddress> {
  if (host === '') return family === 'inet6' ? { family, host: '::' } : { family: 'inet', host: '0.0.0.0' };
  if (net.isIPv4(host)) return { family: 'inet', host };
  if (net.isIPv6(host)) {
    const [address = '', zone] = host.split('%');
    return { family: 'inet6', host: address, ...(zone !== undefined && { scopeId: zoneIndex(zone) }) };
  }
  const found = await dns.lookup(
    host,
    family === undefined ? { order: 'ipv4first' } : { family: family === 'inet' ? 4 : 6 },
  );
  return { family: found.family === 6 ? 'inet6' : 'inet', host: found.address };
}

function zoneIndex(zone: string): number {
  if (/^[0-9]+$/.test(zone)) return Number(zone);
  // An address that is valid everywhere, which most interfaces have as well, has no zone: 0.
  const index = os.networkInterfaces()[zone]?.find((info) => info.family === 'IPv6' && info.scopeid !== 0)?.scopeid;
  if (index === undefined) throw new GraceError(`there is no network interface "${zone}" with IPv6`);
  return index;
}

async function openUnix({ path: file, mode, backlog, lockfile = false }: UnixSpec): Promise<number> {
  if (!file.startsWith('\0')) {
    if (file === '') throw new GraceError('the path is empty');
    const absolute = path.resolve(file);
    checkLength(encodeName(absolute).length, UNIX_PATH_MAX);
    return bindUnixPath(absolute, { mode, backlog, lockfile });
  }
  if (process.platform !== 'linux') throw new GraceError('only Linux has abstract socket names');
  if (lockfile) throw new GraceError('an abstract socket name has no file to lock', { hint: 'use lockfile=0' });
  checkLength(encodeName(file).length, UNIX_PATH_MAX + 1);
  const fd = openSocket('unix');
  try {
    bindSocket(fd, { family: 'unix', path: file });
    listenSocket(fd, backlog);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function checkLength(length: number, most: number): void {
  if (length <= most) return;
  throw new GraceError(`its path is ${length} bytes long, the system takes ${most} at most`, {
    hint: 'use a shorter path',
  });
}

function listenError(spec: ListenSpec, error: unknown, holders: PortHolders): GraceError {
  const code = errorCode(error);
  const cause =
    error instanceof GraceError || code === undefined ? errorMessage(error) : `${describeListenCode(code)} (${code})`;
  const hint = error instanceof GraceError ? error.hint : listenHint(spec, error, holders);
  return new GraceError(`cannot listen on ${describeSpec(spec)}: ${cause}`, {
    hint,
    code: codeOf(error),
    cause: error,
  });
}

/** The system's; of an address that cannot be one, the library's. */
function codeOf(error: unknown): string {
  return errorCode(error) ?? 'ERR_GRACE_ADDRESS';
}

function describeListenCode(code: string): string {
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'the name cannot be resolved' : describeCode(code);
}

function listenHint(spec: ListenSpec, error: unknown, holders: PortHolders): string | undefined {
  const code = errorCode(error);
  const limit = limitHint(error);
  if (limit !== undefined) return limit;
  if (spec.kind === 'unix') return code === 'ENOENT' ? 'make the directory first' : undefined;
  if (code === 'EACCES' && spec.port < 1024) return lowPortHint;
  if (code === 'EADDRNOTAVAIL') return 'no interface of this machine has that address';
  if (code !== 'EADDRINUSE') return undefined;
  const holder = holders.find(spec.port);
  if (holder === null) return undefined;
  const { command, pid, stateDir } = holder;
  return stateDir === null
    ? `${command} (pid ${pid}) listens there`
    : `grace (state dir ${stateDir}, pid ${pid}) listens there`;
}

/** `tcp:80`, `tcp:127.0.0.1:80`, `tcp:[::1]:80`, `unix:/run/x`, `unix:@abstract`. */
function describeSpec(spec: ListenSpec): string {
  if (spec.kind === 'unix') return `unix:${spec.path.replace(/^\0/, '@')}`;
  if (spec.host === '') return `tcp:${spec.port}`;
  return `tcp:${spec.host.includes(':') ? `[${spec.host}]` : spec.host}:${spec.port}`;
}
