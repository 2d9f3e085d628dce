/**
 * Open connections pass from the old daemon to its successor, once that one serves: a batch at a
 * time, the sockets over a socket pair, the words about them on the channel of the restart.
 *
 *     old → new   batch      which rule and destination; the connections are on the socket pair, frozen
 *     new → old   received   or refused, with the reason
 *     old → new   keep       the old one has let go: they are yours
 *                 drop       they go on in the old one after all
 *     old → new   moved      no more; the counters of every destination, and generations that have ended meanwhile
 *     new → old   counted    which of the counters it goes on with
 *
 * At no time may both move bytes of a connection. So the new one does nothing with a batch before
 * `keep`, and the old one nothing after it. What cannot be moved stays and drains in the old process,
 * as everything does when one of the two does not know how to move. TLS moves where both have said that they mean the same by it
 * (`moveTls`); a client in the middle of its handshake is waited for a moment, and else finishes it in the old process, and stays.
 *
 * The old one's part is in move-out.ts, the new one's in move-in.ts.
 */
import type { MovedConnection } from '../../engine/transfer.ts';

/** The way of moving that `handover` offers and `ready` accepts. */
export const moveFormat = 1;

/** Connections that have moved, and how many of them have TLS. */
export type MovedCount = { moved: number; movedTls: number };

/** How many of these speak TLS on one side at least. */
export function countTls(connections: readonly MovedConnection[]): number {
  return connections.filter(({ client, server }) => client.tls || server?.tls).length;
}
