import type { Names } from '../../engine/lookup.ts';
import { addressesOf } from '../../engine/services.ts';
import type { Services } from '../../engine/services.ts';
import type { Hops, Place, Resolve } from '../../endpoint/loops.ts';
import type { LeadingRule } from '../../forward/options.ts';

/** The hops of rules. */
export function hopsOf(rules: readonly LeadingRule[]): Hops {
  return {
    filter: (isMeant) =>
      rules
        .filter(({ src, listener: { address } }) => isMeant({ src, address }))
        .flatMap(({ src, listener: { address }, routed }) => routed.map(({ spec }) => ({ src, address, dst: spec }))),
  };
}

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
