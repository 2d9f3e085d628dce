/** Where the new connections of a rule go: to one destination, or a share of them to another. */
import type { UpstreamShare } from '../engine/engine.ts';
import { newSecret } from '../engine/share.ts';
import { GraceError } from '../error.ts';
import type { Destination, DestinationSpec } from './destination.ts';

/** A share of the new connections as it is stored: of addresses of clients, in percent, and what decides which. */
export type ShareSpec = { dst: DestinationSpec; percent: number; secret: string };

/** Where new connections go, as it is stored. */
export type RoutingSpec = { dst: DestinationSpec; share?: ShareSpec | undefined };

/** A second destination, and which clients go there. */
export type Share = { readonly destination: Destination; readonly percent: number; readonly secret: string };

/** Where new connections go. */
export type Routing = { readonly current: Destination; readonly share: Share | null };

/** The destinations that new connections go to, the current one first. */
export function destinationsOf({ current, share }: Routing): readonly Destination[] {
  return share ? [current, share.destination] : [current];
}

/** Of a routing, what is stored. */
export function routingSpec({ current, share }: Routing): RoutingSpec {
  if (!share) return { dst: current.spec };
  const { destination, percent, secret } = share;
  return { dst: current.spec, share: { dst: destination.spec, percent, secret } };
}

/** The routing of a spec, with the destinations that `find` says. */
export function routingOf({ dst, share }: RoutingSpec, find: (dst: DestinationSpec) => Destination): Routing {
  return { current: find(dst), share: share ? { ...share, destination: find(share.dst) } : null };
}

/** The destinations that a spec names, the current one first. */
export function specsOf({ dst, share }: RoutingSpec): readonly DestinationSpec[] {
  return share ? [dst, share.dst] : [dst];
}

/** Whether two lead new connections to the same destinations, in the same way. */
export function isSameRouting(a: RoutingSpec, b: RoutingSpec): boolean {
  return a.dst.key === b.dst.key && a.share?.dst.key === b.share?.dst.key && a.share?.percent === b.share?.percent;
}

/** A share as the engine has it. */
export function upstreamShare({ share }: Routing): UpstreamShare | null {
  return share && { upstream: share.destination.upstream, percent: share.percent, secret: share.secret };
}

/** What percentage of new connections goes to each destination of a routing. */
export function percentOf({ share }: Routing, destination: Destination): number | null {
  if (!share) return null;
  return destination === share.destination ? share.percent : roundPercent(100 - share.percent);
}

/**
 * What a rule's routing becomes when `percent` of new connections are to go to `dst`: all of them at 100, none at 0, where
 * the rest goes to the destination so far. Throws GraceError where a share goes elsewhere already.
 */
export function routingWith(
  now: RoutingSpec,
  { dst, percent }: { dst: DestinationSpec; percent: number },
): RoutingSpec {
  const { share } = now;
  if (percent === 100) return { dst };
  if (share && dst.key === now.dst.key)
    return percent === 0 ? { dst: share.dst } : { ...now, share: { ...share, percent: roundPercent(100 - percent) } };
  if (share?.dst.key === dst.key) return percent === 0 ? { dst: now.dst } : { ...now, share: { ...share, percent } };
  if (percent === 0) {
    if (dst.key !== now.dst.key) return now;
    throw new GraceError(`all new connections go to ${dst.typed}, and there is no other destination`, {
      hint: 'to send them elsewhere: grace switch SRC DST',
    });
  }
  if (dst.key === now.dst.key)
    throw new GraceError(`all new connections go to ${dst.typed} already`, {
      hint: `to send a share elsewhere, name that destination: grace switch SRC DST --percent ${roundPercent(100 - percent)}`,
    });
  if (share)
    throw new GraceError(`${share.percent} % of new connections go to ${share.dst.typed} already`, {
      hint: `a rule has two destinations at most; first: grace switch SRC ${share.dst.typed} --percent 100 (or 0)`,
    });
  return { dst: now.dst, share: { dst, percent, secret: newSecret() } };
}

/** Without the digits that the arithmetic of fractions adds. */
function roundPercent(percent: number): number {
  return Math.round(percent * 1e6) / 1e6;
}
