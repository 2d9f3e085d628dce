/** Rules that lead in a circle: one client of such a rule would take every descriptor. */
import { realpathSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import type { ClientEndpoint, DirectClient, UnixClient } from './model.ts';
import { directOf, innermost } from './inner.ts';
import { GraceError } from '../error.ts';

/** Where a rule listens: `path` starts with NUL for Linux's abstract namespace. */
export type HopAddress = { family: 'inet' | 'inet6'; host: string; port: number } | { family: 'unix'; path: string };

/** A rule as far as it matters where it listens and where it leads; keys tell equal ends. */
export type Hop = {
  src: { typed: string; key: string };
  address: HopAddress;
  dst: { typed: string; key: string; endpoint: ClientEndpoint };
};

/** Hops of which a few are wanted: there may be very many, so that a look at all of them must be cheap. */
export type Hops = { filter(isMeant: (hop: Pick<Hop, 'src' | 'address'>) => boolean): Hop[] };

/** Where a TCP connection goes. */
export type Place = { readonly host: string; readonly port: number };

/** The addresses that an endpoint leads to; one whose name cannot be looked up now has none. */
export type Resolve = (endpoint: Exclude<DirectClient, UnixClient>) => Promise<readonly Place[]>;

/** The addresses that are told by the text of an endpoint alone: nobody is asked for a name. */
export const placesWritten: Resolve = async (endpoint) => {
  if (endpoint.type === 'srv') return [];
  const { host, port } = endpoint;
  const hosts = host.toLowerCase() === 'localhost' ? ['127.0.0.1', '::1'] : [host];
  return hosts.filter((each) => isIP(each) !== 0).map((each) => ({ host: each, port }));
};

/**
 * Refuse a rule whose destination is its own source, in whatever spelling, or leads back to it over
 * other rules. What lies beyond another process or machine is not seen.
 *
 * @throws GraceError that names the rules of the circle
 */
export async function mustNotLoop(rule: Hop, others: Hops, resolve: Resolve): Promise<void> {
  const hops: Hops = {
    filter: (isMeant) => [
      ...[rule].filter(isMeant),
      ...others.filter((hop) => hop.src.key !== rule.src.key && isMeant(hop)),
    ],
  };
  const circle = await findCircle(rule, hops, resolve);
  if (circle === null) return;
  const [first, ...rest] = circle;
  const { src, dst } = rule;
  const over =
    rest.length === 0
      ? 'it is where this rule itself listens'
      : `it leads back here over ${rest.map((hop) => hop.src.typed).join(' and ')}`;
  throw new GraceError(`${first?.src.typed ?? src.typed} cannot lead to ${dst.typed}: ${over}`, {
    hint: 'every client would be forwarded in a circle until no descriptor is left; name the server behind it',
  });
}

async function findCircle(rule: Hop, hops: Hops, resolve: Resolve): Promise<Hop[] | null> {
  const visited = new Set<string>();
  const follow = async (path: Hop[]): Promise<Hop[] | null> => {
    const last = path.at(-1)!;
    for (const next of await followers(last, hops, resolve)) {
      if (next === rule) return path;
      const key = JSON.stringify([next.src.key, next.dst.key]);
      if (visited.has(key)) continue;
      visited.add(key);
      const circle = await follow([...path, next]);
      if (circle) return circle;
    }
    return null;
  };
  return follow([rule]);
}

/** The rules that listen where this one leads. */
async function followers({ dst }: Hop, hops: Hops, resolve: Resolve): Promise<Hop[]> {
  const found = await Promise.all(directOf(dst.endpoint).map((endpoint) => followersOf(endpoint, hops, resolve)));
  return [...new Set(found.flat())];
}

async function followersOf(endpoint: DirectClient, hops: Hops, resolve: Resolve): Promise<Hop[]> {
  const target = innermost(endpoint);
  if (target.type === 'unix') {
    const real = realPath(target.path);
    return hops.filter(({ address }) => address.family === 'unix' && isSamePath(address.path, target.path, real));
  }
  let mayBe = false;
  hops.filter(({ address }) => {
    mayBe ||= address.family !== 'unix' && (target.type === 'srv' || address.port === target.port);
    return false;
  });
  if (!mayBe) return [];
  const places = await resolve(target);
  return hops.filter(
    ({ address }) =>
      address.family !== 'unix' &&
      places.some(({ host, port }) => port === address.port && reaches(host, address.host)),
  );
}

/** Whether a connection to one address comes to who listens on another. */
function reaches(host: string, listening: string): boolean {
  const to = canonical(host);
  const on = canonical(listening);
  if (to === on) return true;
  const isOnAll = on === '0.0.0.0' || on === '::';
  // To connect to no address is to connect to this machine.
  if (to === '0.0.0.0' || to === '::') return isOnAll || on === '127.0.0.1' || on === '::1';
  if (!isOnAll || !isOwnAddress(to)) return false;
  return on === '::' || isIP(to) === 4;
}

function isOwnAddress(address: string): boolean {
  if (address === '::1' || address.startsWith('127.')) return true;
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some((each) => canonical(each.address) === address),
  );
}

/** One spelling for each address: without zone, IPv4 inside IPv6 as IPv4. */
function canonical(address: string): string {
  if (!address.includes(':')) return address;
  const [bare = ''] = address.split('%');
  if (isIP(bare) !== 6) return bare;
  const { hostname } = new URL(`http://[${bare}]`);
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname);
  if (!mapped) return hostname.slice(1, -1);
  const [high = 0, low = 0] = mapped.slice(1).map((part) => Number.parseInt(part, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** The last part of a path that is listened on is the socket itself, never a link. */
function isSamePath(listening: string, path: string, real: string): boolean {
  return listening === path || (basename(listening) === basename(real) && realPath(listening) === real);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // abstract, or there is nothing
  }
}
