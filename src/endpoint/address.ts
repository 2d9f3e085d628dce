import { isIP, isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';

/** `[::1]` without its brackets; anything else as it is. */
export function withoutBrackets(host: string): string {
  const inner = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : '';
  return isIPv6(inner) ? inner : host;
}

/**
 * Why a text can be neither an IP address nor a name to look up, or null when it can. Underscores
 * are taken, since container networks use them; names beyond ASCII are checked in their `xn--` form.
 */
export function hostProblem(host: string): string | null {
  if (isIP(host) !== 0) return null;
  if (host === '') return 'it is empty';
  if (host.includes(':')) return 'it is not an IPv6 address, and a name has no colon';
  if (/^[0-9]+(\.[0-9]+){3}$/.test(host)) return 'it is not an IPv4 address';
  const name = asciiName(host).replace(/\.$/, '');
  if (name.length > 253) return 'it is longer than 253 characters';
  const isName = name.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  return isName ? null : 'a name has letters, digits, "-" and "_" in parts of 1 to 63 characters';
}

/** A host in the one spelling that all its spellings have in common: lower case, `xn--`, shortest IPv6. */
export function canonicalHost(host: string): string {
  if (!isIPv6(host)) return asciiName(host);
  const [address, zone] = host.split('%');
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  return zone === undefined ? canonical : `${canonical}%${zone}`;
}

/** The name of a host that is whole, with or without a dot at its end, in the one spelling of {@link canonicalHost}. */
export function wholeName(host: string): string {
  return canonicalHost(host).replace(/\.$/, '');
}

/** `HOST:PORT`, with the brackets of an IPv6 address. */
export function hostPort({ host, port }: { host: string; port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** `4` or `6` for the family that an address to bind belongs to; a name is resolved to IPv4 unless told otherwise. */
export function familyOf(host: string): 4 | 6 | null {
  if (isIPv6(host)) return 6;
  return isIPv4(host) ? 4 : null;
}

function asciiName(name: string): string {
  const lower = name.toLowerCase();
  // An ASCII name must not go through domainToASCII, which would read `1.2.3` as an IPv4 address.
  return /^\p{ASCII}*$/u.test(lower) ? lower : domainToASCII(lower);
}
