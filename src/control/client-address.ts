/** Clients by their addresses, as `--client` names them. */
import { BlockList, isIP } from 'node:net';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';

/**
 * What tells whether a client, `host:port`, `[host]:port` or `unix`, is one that is meant: by an address (`10.0.0.7`), a
 * range (`10.0.0.0/8`), an address with its port (`10.0.0.7:4711`, `[::1]:4711`), or `unix`. Throws GraceError (exit code 2)
 * for a text that is none of these.
 */
export function readClientAddress(text: string): (client: string) => boolean {
  if (text === 'unix') return (client) => client === 'unix';
  const { host, port } = splitPort(text);
  const [address = '', bits] = host.split('/');
  const family = isIP(address);
  const maxBits = family === 6 ? 128 : 32;
  const isRange = bits !== undefined && /^[0-9]{1,3}$/.test(bits) && Number(bits) <= maxBits;
  if (family === 0 || (bits !== undefined && (!isRange || port !== null)) || !isPort(port))
    throw new GraceError(`cannot read --client ${quoted(text)}: expected an address`, {
      hint: 'an address is 10.0.0.7, 10.0.0.7:4711, 10.0.0.0/8, ::1, [::1]:4711, or unix',
      code: 'ERR_GRACE_USAGE',
    });
  const list = new BlockList();
  if (bits === undefined) list.addAddress(address, nameOf(family));
  else list.addSubnet(address, Number(bits), nameOf(family));
  return (client) => {
    const its = splitPort(client);
    const itsFamily = isIP(its.host);
    if (itsFamily === 0 || (port !== null && port !== its.port)) return false;
    return list.check(its.host, nameOf(itsFamily));
  };
}

function splitPort(text: string): { host: string; port: string | null } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed) return { host: bracketed[1]!, port: bracketed[2] ?? null };
  const [host = '', port, ...more] = text.split(':');
  return port === undefined || more.length > 0 ? { host: text, port: null } : { host, port };
}

function isPort(port: string | null): boolean {
  return port === null || (/^[0-9]{1,5}$/.test(port) && Number(port) <= 65_535);
}

function nameOf(family: number): 'ipv4' | 'ipv6' {
  return family === 6 ? 'ipv6' : 'ipv4';
}
