import { formatAddress } from '../../net/listener.ts';
import type { Service } from '../service.ts';

/** Turn clients of unused sockets away for as long as this process serves, and say of which. */
export async function turnAwayUnused({
  listeners,
  forwarder,
  lifecycle,
  changes,
  log,
  troubles,
}: Service): Promise<void> {
  while (lifecycle.isServing) {
    const unused = lifecycle.phase === 'serving' ? listeners.unused(forwarder.broken.map(({ spec }) => spec.src)) : [];
    // Without a descriptor they wait; it is tried again with the next change.
    troubles.attempt('clients of a socket that no rule uses cannot be turned away', () => {
      for (const { name, fd, listener } of listeners.turnedAway.set(unused)) {
        log.warn(
          { socket: name, descriptor: fd, address: formatAddress(listener.address) },
          'a socket that was passed to the daemon is not used by any rule: its clients are turned away',
        );
      }
    });
    await changes.next();
  }
  listeners.turnedAway.set([]);
}
