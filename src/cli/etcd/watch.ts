import * as v from 'valibot';
import { GraceError } from '../../error.ts';
import type { EtcdAddress } from './address.ts';
import { notEtcdError } from './failure.ts';
import type { Gateway } from './gateway.ts';
import { base64, below, destinationsBelow } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';

const told = v.object({
  result: v.object({
    created: v.optional(v.boolean(), false),
    canceled: v.optional(v.boolean(), false),
    cancel_reason: v.optional(v.string(), ''),
    compact_revision: v.optional(v.union([v.string(), v.number()])),
    events: v.optional(v.array(v.unknown()), []),
  }),
});

/**
 * Calls `onEvent` whenever there is something newer than the snapshot. Never resolves: rejects with GraceError when the
 * watch ends, by etcd (whose history may have been compacted beyond the snapshot) or with the connection.
 */
export async function watchEtcd(
  gateway: Gateway,
  { address, snapshot }: { address: EtcdAddress; snapshot: Snapshot },
  onEvent: () => void,
): Promise<never> {
  // As long as no key is there, either may come.
  const keys = snapshot.value === null || snapshot.key !== address.keys[0] ? address.keys : [snapshot.key];
  const questions = keys.flatMap((key) =>
    [{ key: base64(key) }, below(`${key}${destinationsBelow}`)].map((what) => ({
      create_request: { ...what, start_revision: String(snapshot.revision + 1), fragment: true },
    })),
  );
  for await (const line of gateway.follow('/v3/watch', questions)) {
    const parsed = v.safeParse(told, line);
    if (!parsed.success) throw notEtcdError(gateway.member, 'its watch is of another form');
    const { canceled, cancel_reason: reason, compact_revision: compacted, events } = parsed.output.result;
    if (compacted !== undefined && canceled)
      throw new GraceError(`etcd at ${gateway.member} has forgotten what was there: it was compacted at ${compacted}`);
    // Of two keys, one may be another user's.
    if (canceled && !(keys.length > 1 && /permission denied/.test(reason)))
      throw new GraceError(`etcd at ${gateway.member} ended the watch: ${reason || 'without a reason'}`);
    if (events.length > 0) onEvent();
  }
  throw new GraceError(`etcd at ${gateway.member} ended the watch`);
}
