import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { DNS_PORT } from '../../endpoint/name-servers.ts';
import type { NameServer } from '../../endpoint/name-servers.ts';

/** As many servers as the C library asks (MAXNS of resolver(3)). */
const MAX_SERVERS = 3;

/** The name servers of this system, as resolv.conf(5) has them now; one on this machine where it names none. */
export function systemServers(file = '/etc/resolv.conf'): readonly NameServer[] {
  let text = '';
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    // Without the file the C library asks this machine as well.
  }
  const servers = text
    .split('\n')
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .filter((host) => isIP(host) !== 0)
    .slice(0, MAX_SERVERS);
  return (servers.length === 0 ? ['127.0.0.1'] : servers).map((host) => ({ host, port: DNS_PORT }));
}
