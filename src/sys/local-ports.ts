import { readFileSync } from 'node:fs';

/** How long what was read is taken for so: thousands of destinations are opened at once, in milliseconds. */
const freshMs = 1000;

/** The ports that the system gives out to sockets that connect (ip(7), ip_local_port_range). */
export class LocalPorts {
  #range: readonly [first: number, last: number] = [0, 0];
  #readAtMs = -Infinity;

  /** Whether this is one of them. Where the system does not tell, any may be. */
  givesOut(port: number): boolean {
    if (performance.now() - this.#readAtMs > freshMs) {
      this.#range = readRange();
      this.#readAtMs = performance.now();
    }
    const [first, last] = this.#range;
    return port >= first && port <= last;
  }
}

function readRange(): [first: number, last: number] {
  try {
    const text = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1');
    const [first = 0, last = 65_535] = text.trim().split(/\s+/).map(Number);
    return [first, last];
  } catch {
    return [0, 65_535];
  }
}
