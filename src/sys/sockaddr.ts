import { C, isDarwin } from './constants.ts';
import { decodeName, encodeName } from './file-name.ts';

/** A socket address. `path` starts with NUL in Linux's abstract namespace; it is empty for an unnamed socket. */
export type SocketAddress =
  { family: 'inet' | 'inet6'; host: string; port: number; scopeId?: number } | { family: 'unix'; path: string };

/** sizeof(struct sockaddr_storage). */
export const SOCKADDR_SIZE = 128;
/** sizeof(struct sockaddr_in6), the longest of an IP socket. */
export const SOCKADDR_IN6_SIZE = 28;

/** Longest path in bytes: one less than `sun_path`, for the NUL. */
export const UNIX_PATH_MAX: number = isDarwin ? 103 : 107;

/**
 * The bytes of a `struct sockaddr_in`, `sockaddr_in6` or `sockaddr_un`. `host` must be a numeric
 * address, without zone. Throws RangeError for one that is not, and for a path that is too long.
 */
export function encodeSockaddr(address: SocketAddress): Uint8Array {
  switch (address.family) {
    case 'inet': {
      const bytes = allocate(16, C.AF_INET);
      new DataView(bytes.buffer).setUint16(2, address.port);
      bytes.set(parseIPv4(address.host), 4);
      return bytes;
    }
    case 'inet6': {
      const bytes = allocate(SOCKADDR_IN6_SIZE, C.AF_INET6);
      const view = new DataView(bytes.buffer);
      view.setUint16(2, address.port);
      bytes.set(parseIPv6(address.host), 8);
      view.setUint32(24, address.scopeId ?? 0, true);
      return bytes;
    }
    case 'unix': {
      const path = encodeName(address.path);
      const isAbstract = path[0] === 0;
      if (path.length > UNIX_PATH_MAX + (isAbstract ? 1 : 0)) {
        throw new RangeError(`path of a Unix socket is ${path.length} bytes long, at most ${UNIX_PATH_MAX} fit`);
      }
      // The length of an abstract name is that of the address; a path ends with its NUL.
      const bytes = allocate(2 + path.length + (isAbstract ? 0 : 1), C.AF_UNIX);
      bytes.set(path, 2);
      return bytes;
    }
  }
}

/** An IPv4 address in IPv6's form (`::ffff:192.0.2.1`) as such; any other host as it is. */
export function unmapIPv4(host: string): string {
  return host.replace(/^::ffff:(?=[0-9.]+$)/i, '');
}

const IPV4_IN_IPV6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];

/** Whether the 16 bytes from `at` on, an IPv6 address in network order, are an IPv4 address in that form: its own are the last 4. */
export function isMappedIPv4(bytes: Uint8Array, at: number): boolean {
  return IPV4_IN_IPV6.every((byte, index) => bytes[at + index] === byte);
}

/** Read what getsockname(2) and the like left: `length` bytes, of which a longer address has more. */
export function decodeSockaddr(bytes: Uint8Array, length: number): SocketAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = isDarwin ? bytes[1] : view.getUint16(0, true);
  if (family === C.AF_INET) return { family: 'inet', host: bytes.subarray(4, 8).join('.'), port: view.getUint16(2) };
  if (family === C.AF_INET6) {
    const scopeId = view.getUint32(24, true);
    const host = formatIPv6(bytes.subarray(8, 24));
    return { family: 'inet6', host, port: view.getUint16(2), ...(scopeId !== 0 && { scopeId }) };
  }
  if (family !== C.AF_UNIX) throw new RangeError(`address family ${family} is not known`);
  const path = bytes.subarray(2, Math.max(2, length));
  const end = path[0] === 0 ? path.length : path.indexOf(0);
  return { family: 'unix', path: decodeName(end === -1 ? path : path.subarray(0, end)) };
}

function allocate(size: number, family: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(size));
  if (isDarwin) bytes.set([size, family]);
  else new DataView(bytes.buffer).setUint16(0, family, true);
  return bytes;
}

function parseIPv4(host: string): number[] {
  const parts = host.split('.').map(Number);
  if (parts.length !== 4 || !parts.every((part) => Number.isInteger(part) && part >= 0 && part <= 255)) {
    throw new RangeError(`"${host}" is not an IPv4 address`);
  }
  return parts;
}

function parseIPv6(host: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(host);
  const v4 = tail === null ? null : parseIPv4(tail[2] ?? '');
  const text = tail === null || v4 === null ? host : `${tail[1]}${hex(v4[0], v4[1])}:${hex(v4[2], v4[3])}`;
  const [head = '', rest, ...more] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = rest === undefined || rest === '' ? [] : rest.split(':');
  const groups =
    rest === undefined
      ? left
      : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right];
  if (more.length > 0 || groups.length !== 8 || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) {
    throw new RangeError(`"${host}" is not an IPv6 address`);
  }
  groups.forEach((group, i) => new DataView(bytes.buffer).setUint16(2 * i, parseInt(group, 16)));
  return bytes;
}

function hex(high = 0, low = 0): string {
  return (high * 256 + low).toString(16);
}

/** RFC 5952: lower case, the longest run of zero groups as `::`. */
function formatIPv6(bytes: Uint8Array): string {
  if (isMappedIPv4(bytes, 0)) return `::ffff:${bytes.subarray(12).join('.')}`;
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.start === -1) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}
