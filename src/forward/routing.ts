/** Where the new connections of a rule go. */
import type { Destination, DestinationSpec } from './destination.ts';

/** Where new connections go, as it is stored. */
export type RoutingSpec = { dst: DestinationSpec };

/** Where new connections go. */
export type Routing = { readonly current: Destination };

/** The destinations that new connections go to, the current one first. */
export function destinationsOf({ current }: Routing): readonly Destination[] {
  return [current];
}

/** Of a routing, what is stored. */
export function routingSpec({ current }: Routing): RoutingSpec {
  return { dst: current.spec };
}

/** The destinations that a spec names, the current one first. */
export function specsOf({ dst }: RoutingSpec): readonly DestinationSpec[] {
  return [dst];
}

/** Whether two lead new connections to the same destinations, in the same way. */
export function isSameRouting(a: RoutingSpec, b: RoutingSpec): boolean {
  return a.dst.key === b.dst.key;
}
