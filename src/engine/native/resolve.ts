/** Names and services that threads ask for, looked up in the main thread. */
import { errorCode } from '../../error.ts';
import { hostPort } from '../../endpoint/address.ts';
import type { DirectClient, UnixClient } from '../../endpoint/model.ts';
import type { Names } from '../lookup.ts';
import { NAME_FRESH_MS, REFUSALS } from '../policy.ts';
import { addressesOf, plansOf } from '../services.ts';
import type { Services } from '../services.ts';
import { describeFailure } from '../words.ts';
import type { Resolved } from './messages.ts';
import { tcpSockaddr } from './plan.ts';
import type { Threads } from './threads.ts';
import type { Destination, NativeUpstreams } from './upstreams.ts';

/** Who knows, and what ends the wait, with its reason. */
type ResolveContext = { names: Names; services: Services; signal: AbortSignal };

/** Who asks, for what, and who knows. */
export type ResolverOptions = { threads: Threads; upstreams: NativeUpstreams; names: Names; services: Services };

/** Looks up what threads ask for. */
export class Resolver {
  readonly #options: ResolverOptions;
  /** What ends the lookups under way, by the thread that asked and the number of the destination. */
  readonly #lookups = new Map<string, AbortController>();

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** A thread asks for the addresses of an upstream or a way, and is answered when they are known, or why they are not. */
  async resolve(thread: number, id: number): Promise<void> {
    const { upstreams, threads, names, services } = this.#options;
    const destination: Destination | undefined = upstreams.get(id) ?? upstreams.way(id);
    const endpoint = destination?.endpoint;
    if (!destination || endpoint === undefined || endpoint.type === 'sni' || endpoint.type === 'unix') return;
    const key = `${thread} ${id}`;
    const lookup = new AbortController();
    this.#lookups.set(key, lookup);
    try {
      const { hosts, ...answer } = await resolveAddresses(endpoint, { names, services, signal: lookup.signal });
      destination.lastAddresses = hosts;
      threads.send(thread, { type: 'resolved', upstream: id, ...answer, failure: null });
    } catch (error) {
      if (lookup.signal.aborted) return;
      const failure = { text: describeFailure(error), isPassing: REFUSALS.includes(errorCode(error) ?? '') };
      threads.send(thread, { type: 'resolved', upstream: id, addresses: [], targets: null, freshMs: 0, failure });
    } finally {
      if (this.#lookups.get(key) === lookup) this.#lookups.delete(key);
    }
  }

  /** A thread needs them no more. */
  abort(thread: number, id: number): void {
    this.#lookups.get(`${thread} ${id}`)?.abort();
  }
}

/**
 * The addresses of a destination that its endpoint does not tell, and how messages call them. Rejects with the
 * error of the system, GraceError or the signal's reason.
 */
async function resolveAddresses(
  endpoint: Exclude<DirectClient, UnixClient>,
  { names, services, signal }: ResolveContext,
): Promise<Pick<Resolved, 'addresses' | 'targets' | 'freshMs'> & { hosts: readonly string[] }> {
  if (endpoint.type !== 'srv') {
    const { host, port, bindAddress } = endpoint;
    const hosts = await names.resolve(host, { bindAddress, signal });
    const addresses = hosts.map((address) => tcpSockaddr(address, port));
    return { addresses, targets: null, freshMs: NAME_FRESH_MS, hosts };
  }
  const { targets, freshMs } = await services.resolve(endpoint, signal);
  const each = addressesOf(targets);
  return {
    addresses: each.map(({ host, port }) => tcpSockaddr(host, port)),
    targets: plansOf(targets),
    freshMs,
    hosts: each.map(hostPort),
  };
}
