/** The name servers that an endpoint names. */
import { isIP } from 'node:net';
import { hostPort, withoutBrackets } from './address.ts';
import { type Reader, refusal } from './arguments.ts';

/** A server to ask for names: an IP address and a port. */
export type NameServer = { readonly host: string; readonly port: number };

/** Where servers answer unless they are said to do it elsewhere. */
export const DNS_PORT = 53;

/** Name servers, separated by commas: an address each, after whose (escaped) colon a port may follow; IPv6 is in brackets then. */
export const nameServers: Reader<readonly NameServer[]> = (value) => {
  const servers = value.text.split(',').map((text) => {
    if (isIP(withoutBrackets(text)) !== 0) return { host: withoutBrackets(text), port: DNS_PORT };
    const [, host = '', port = ''] = /^(.*):([0-9]{1,5})$/s.exec(text) ?? [];
    const isPort = Number(port) >= 1 && Number(port) <= 65535;
    const address = withoutBrackets(host);
    if (!isPort || isIP(address) === 0 || (isIP(address) === 6 && address === host))
      throw refusal(
        value,
        'is not a list of name servers (use 192.0.2.53, or with its colon escaped 192.0.2.53\\:5353)',
      );
    return { host: address, port: Number(port) };
  });
  if (servers.length > MAX_NAME_SERVERS) throw refusal(value, `names more than ${MAX_NAME_SERVERS} servers`);
  return servers;
};

/** More of them would make an answer that none gives a matter of minutes. */
const MAX_NAME_SERVERS = 8;

/** How such a list is written. */
export function writeNameServers(servers: readonly NameServer[]): string {
  return servers.map((server) => (server.port === DNS_PORT ? server.host : hostPort(server))).join(',');
}
