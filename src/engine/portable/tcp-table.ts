/** Linux's tables of TCP connections, /proc/net/tcp and tcp6 (proc_pid_net(5)): what became of a peer, without reading from it. */
import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { encodeSockaddr } from '../../sys/sockaddr.ts';

/** A line of a table: whether the peer has sent its end, and what we have not read. */
export type TcpState = {
  hasPeerEnded: boolean;
  /** Bytes that wait to be read; an end that waits counts as one. */
  unread: number;
};

export type TcpAddresses = { localAddress: string; localPort: number; remoteAddress: string; remotePort: number };

/** `TCP_CLOSE_WAIT` of the kernel's net/tcp_states.h. */
const closeWait = '08';

/** The two addresses of a connection as the tables print them; it stands in the table of its family. */
export function tcpKey({ localAddress, localPort, remoteAddress, remotePort }: TcpAddresses): string {
  return `${printAddress(localAddress, localPort)} ${printAddress(remoteAddress, remotePort)}`;
}

/** Where the connections with these keys stand. One that is missing is none any more. Null where there are no such tables. */
export async function readTcpStates(keys: ReadonlySet<string>): Promise<Map<string, TcpState> | null> {
  const states = new Map<string, TcpState>();
  for (const [file, keyLength] of tables) {
    if (!Array.from(keys).some((key) => key.length === keyLength)) continue;
    let text: string;
    try {
      text = await readFile(file, 'latin1');
    } catch {
      // No Linux, or no permission.
      return null;
    }
    for (const line of text.split('\n')) {
      const start = line.indexOf(': ') + 2;
      const key = line.slice(start, start + keyLength);
      if (keys.has(key)) states.set(key, parseState(line.slice(start + keyLength + 1)));
    }
  }
  return states;
}

/** Addresses of 4 and 16 bytes in hexadecimal digits, each with its port, and a blank between the two. */
const tables = [
  ['/proc/net/tcp', 2 * 13 + 1],
  ['/proc/net/tcp6', 2 * 37 + 1],
] as const;

/** `08 00000000:00000001 …`: state, bytes to send, bytes to read. */
function parseState(text: string): TcpState {
  return { hasPeerEnded: text.startsWith(closeWait), unread: Number.parseInt(text.slice(12, 20), 16) };
}

/** The kernel prints an address as numbers of 4 bytes in the machine's order, which is little-endian wherever we run. */
function printAddress(host: string, port: number): string {
  const [address = ''] = host.split('%');
  const bytes = isIPv4(address)
    ? encodeSockaddr({ family: 'inet', host: address, port }).subarray(4, 8)
    : encodeSockaddr({ family: 'inet6', host: address, port }).subarray(8, 24);
  let text = '';
  for (let word = 0; word < bytes.length; word += 4) {
    for (let byte = 3; byte >= 0; byte--) text += hex(bytes[word + byte] ?? 0, 2);
  }
  return `${text}:${hex(port, 4)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
