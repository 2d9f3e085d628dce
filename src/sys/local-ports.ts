import { readFileSync } from 'node:fs';

/** Whether the system gives this port out to sockets that connect (ip(7), ip_local_port_range). Where it does not tell, any may be. */
export function givesOutPort(port: number): boolean {
  try {
    const [first = 0, last = 65_535] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1')
      .trim()
      .split(/\s+/)
      .map(Number);
    return port >= first && port <= last;
  } catch {
    return true;
  }
}
