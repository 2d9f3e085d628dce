/** What the main thread tells the threads of a name, or of a service. */
import { hostPort } from '../../endpoint/address.ts';
import type { DirectClient, UnixClient } from '../../endpoint/model.ts';
import type { Names } from '../lookup.ts';
import { NAME_FRESH_MS } from '../policy.ts';
import { addressesOf, plansOf } from '../services.ts';
import type { Services } from '../services.ts';
import type { Resolved } from './messages.ts';
import { tcpSockaddr } from './plan.ts';

/** Who knows, and what ends the wait, with its reason. */
export type ResolveContext = { names: Names; services: Services; signal: AbortSignal };

/**
 * The addresses of a destination that its endpoint does not tell, and how messages call them. Rejects with the
 * error of the system, GraceError or the signal's reason.
 */
export async function resolveAddresses(
  endpoint: Exclude<DirectClient, UnixClient>,
  { names, services, signal }: ResolveContext,
): Promise<Pick<Resolved, 'addresses' | 'targets' | 'freshMs'> & { names: readonly string[] }> {
  if (endpoint.type !== 'srv') {
    const { host, port, bindAddress } = endpoint;
    const hosts = await names.resolve(host, { bindAddress, signal });
    const addresses = hosts.map((address) => tcpSockaddr(address, port));
    return { addresses, targets: null, freshMs: NAME_FRESH_MS, names: hosts };
  }
  const { targets, freshMs } = await services.resolve(endpoint, signal);
  const each = addressesOf(targets);
  return {
    addresses: each.map(({ host, port }) => tcpSockaddr(host, port)),
    targets: plansOf(targets),
    freshMs,
    names: each.map(hostPort),
  };
}
