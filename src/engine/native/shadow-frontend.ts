/** What stands in the threads for a frontend that is no more, or not here: connections of another process may be of it. */
import { HELLO_TIMEOUT_MS } from '../policy.ts';
import type { AdoptOptions } from '../engine.ts';
import { orderlyEndsFor } from './frontend-owners.ts';
import { ConnectionCount } from './connection-count.ts';
import type { FrontendOwners } from './frontend-owners.ts';
import type { NativeHolds } from './holds.ts';
import { CLOSED_ROUTE, Route } from './route.ts';
import type { Threads } from './threads.ts';

/** What was asked of it. */
export type ShadowOptions = Required<
  Pick<AdoptOptions, 'observer' | 'idleMs' | 'lifetimeMs' | 'bufferBytes' | 'slots' | 'admission' | 'hold'>
>;

type Context = { threads: Threads; owners: FrontendOwners; holds: NativeHolds };

/** Make one known in these threads, which accepts nobody. Returns its number there. */
export function openShadow(
  { threads, owners, holds }: Context,
  { observer, idleMs, lifetimeMs, bufferBytes, slots, admission, hold }: ShadowOptions,
  members: readonly number[],
): number {
  const id = owners.add({ observer, slots, admission, hold }, members);
  const route = Route.open({ upstream: CLOSED_ROUTE }, { threads: 0 });
  for (const thread of members)
    threads.send(thread, {
      type: 'open-frontend',
      plan: {
        id,
        fd: -1,
        isUnix: false,
        route: route.memory,
        connections: ConnectionCount.allocate(),
        slots: slots?.plan ?? null,
        admission: admission?.plan ?? null,
        hold: hold && { id: holds.idOf(hold), memory: hold.memory },
        idleMs,
        lifetimeMs,
        bufferBytes,
        helloMs: HELLO_TIMEOUT_MS,
        reportsOrderly: orderlyEndsFor(observer),
        header: null,
        tls: null,
      },
    });
  return id;
}
