import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { ownLoopback } from './grace.ts';

/** A port of this process's own address that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, ownLoopback);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Inode number of the TCP socket that listens on this port of 127.0.0.1 (/proc/net/tcp, proc(5)). */
export function listeningInode(port: number): number {
  const inode = findListening(port);
  if (inode === null) throw new Error(`nobody listens on port ${port}`);
  return inode;
}

/** Whether anybody listens on this port of 127.0.0.1. */
export function isListening(port: number): boolean {
  return findListening(port) !== null;
}

function findListening(port: number): number | null {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local && fields[3] === '0A') return Number(fields[9]);
  }
  return null;
}

/** Whether a process holds a socket. */
export function holdsSocket(pid: number, inode: number): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
    } catch {
      return false; // closed meanwhile
    }
  });
}

/** Length of the accept queue of a listening TCP socket, as ss(8) has it. */
export function backlogOf(port: number): number {
  const text = execFileSync('ss', ['-Hltn', `src = 127.0.0.1:${port}`], { encoding: 'utf8' });
  return Number(text.trim().split(/\s+/)[2]);
}
