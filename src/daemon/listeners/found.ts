/** The listening sockets that this process was started with. */
import { readdirSync } from 'node:fs';
import type { Listener } from '../../net/listener.ts';
import { Net } from '../../net/net.ts';
import { isListener } from '../../sys/socket.ts';

/** All that were passed by LISTEN_FDS; the caller owns them. */
export function takeAll(net: Net): Listener[] {
  const all: Listener[] = [];
  for (let next = net.takeInherited(() => true); next; next = net.takeInherited(() => true)) all.push(next);
  return all;
}

/** Descriptors that listen and are none of those: what `fd:` may name. To be called before this process opens any of its own. */
export function bareListeners(taken: readonly Listener[]): Set<number> {
  return new Set(openDescriptors().filter((fd) => !taken.some((listener) => listener.fd === fd) && isListener(fd)));
}

function openDescriptors(): number[] {
  try {
    return readdirSync('/proc/self/fd')
      .map(Number)
      .filter((fd) => fd > 2);
  } catch {
    return Array.from({ length: 61 }, (_, index) => index + 3); // no /proc on this system
  }
}
