/** Rules that lead in a circle: one client of such a rule would take every descriptor. */
import { realpathSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { ClientEndpoint, UnixClient } from '../../endpoint/model.ts';
import type { Names } from '../../engine/lookup.ts';
import { innermost } from '../../endpoint/inner.ts';
import { addressesOf } from '../../engine/services.ts';
import type { Services } from '../../engine/services.ts';
import { GraceError } from '../../error.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { ListenerAddress } from '../../net/listener.ts';

/** A rule as far as it matters where it listens and where it leads. */
export type Hop = { src: SourceSpec; address: ListenerAddress; dst: DestinationSpec };

/** Where a TCP connection goes. */
export type Place = { readonly host: string; readonly port: number };

/** The addresses that an endpoint leads to; one whose name cannot be looked up now has none. */
export type Resolve = (endpoint: Exclude<ClientEndpoint, UnixClient>) => Promise<readonly Place[]>;

/** The addresses that an endpoint leads to now. Rejects with why that cannot be told. */
export async function placesOf(
  endpoint: Parameters<Resolve>[0],
  { names, services, signal }: { names: Names; services: Services; signal: AbortSignal },
): Promise<readonly Place[]> {
  if (endpoint.type === 'srv') {
    const { targets } = await services.resolve(endpoint, signal);
    return addressesOf(targets);
  }
  const hosts = await names.resolve(endpoint.host, { bindAddress: null, signal });
  return hosts.map((host) => ({ host, port: endpoint.port }));
}

/**
 * Refuse a rule whose destination is its own source, in whatever spelling, or leads back to it over
 * other rules. What lies beyond another process or machine is not seen.
 *
 * @throws GraceError that names the rules of the circle
 */
export async function mustNotLoop(rule: Hop, others: readonly Hop[], resolve: Resolve): Promise<void> {
  const circle = await findCircle(rule, [rule, ...others.filter(({ src }) => src.key !== rule.src.key)], resolve);
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

async function findCircle(rule: Hop, hops: readonly Hop[], resolve: Resolve): Promise<Hop[] | null> {
  const visited = new Set<Hop>();
  const follow = async (path: Hop[]): Promise<Hop[] | null> => {
    const last = path.at(-1)!;
    for (const next of await followers(last, hops, resolve)) {
      if (next === rule) return path;
      if (visited.has(next)) continue;
      visited.add(next);
      const circle = await follow([...path, next]);
      if (circle) return circle;
    }
    return null;
  };
  return follow([rule]);
}

/** The rules that listen where this one leads. */
async function followers({ dst }: Hop, hops: readonly Hop[], resolve: Resolve): Promise<Hop[]> {
  const target = innermost(dst.endpoint);
  if (target.type === 'unix')
    return hops.filter(({ address }) => address.family === 'unix' && isSamePath(address.path, target.path));
  const mayBe = hops.filter(
    ({ address }) => address.family !== 'unix' && (target.type === 'srv' || address.port === target.port),
  );
  if (mayBe.length === 0) return [];
  const places = await resolve(target);
  return mayBe.filter(
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
  const [bare = ''] = address.split('%');
  if (isIP(bare) !== 6) return bare;
  const { hostname } = new URL(`http://[${bare}]`);
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname);
  if (!mapped) return hostname.slice(1, -1);
  const [high = 0, low = 0] = mapped.slice(1).map((part) => Number.parseInt(part, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

function isSamePath(one: string, other: string): boolean {
  return one === other || realPath(one) === realPath(other);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // abstract, or there is nothing
  }
}
