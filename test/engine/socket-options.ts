import { readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { C, IPPROTO_TCP } from '../../src/sys/constants.ts';
import { peerName, socketName, socketOption } from '../../src/sys/socket.ts';

const TCP_NODELAY = 1;
const SO_KEEPALIVE = 9;

/** What is set on the other end of a test's TCP connection, which this process holds too. */
export function socketOptionsOfPeers({ localPort, remotePort }: Socket): { noDelay: boolean; keepAlive: boolean }[] {
  return openSockets()
    .filter(({ local, peer }) => local === remotePort && peer === localPort)
    .map(({ fd }) => ({
      noDelay: socketOption(fd, IPPROTO_TCP, TCP_NODELAY) !== 0,
      keepAlive: socketOption(fd, C.SOL_SOCKET, SO_KEEPALIVE) !== 0,
    }));
}

function openSockets(): { fd: number; local: number; peer: number }[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .flatMap((fd) => {
      try {
        const [local, peer] = [socketName(fd), peerName(fd)];
        return local.family === 'unix' || peer.family === 'unix' ? [] : [{ fd, local: local.port, peer: peer.port }];
      } catch {
        // Not a socket, or not connected.
        return [];
      }
    });
}
