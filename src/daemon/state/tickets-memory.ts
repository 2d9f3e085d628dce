/**
 * The keys that seal session tickets, in memory alone: a successor is told them, and whoever starts this daemon again
 * after a crash holds them beside the sockets, so that a restart is no reason for clients to shake hands in full.
 */
import * as v from 'valibot';
import { TicketRing } from '../../engine/ticket-ring.ts';
import type { TicketSnapshot } from '../../engine/ticket-ring.ts';
import { KeeperCopy, readKeeperCopy } from './keeper-copy.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { Troubles } from '../troubles.ts';

const prefix = 'grace-tickets ';

/** Of what another process knows of the keys. */
export const ticketSnapshotSchema = v.object({ keys: v.array(v.string()), sinceMs: v.number() });

/** Whether what the supervisor holds under this name are keys of tickets. */
export function isTicketsCopy(name: string): boolean {
  return name.startsWith(prefix);
}

/** What an earlier daemon left; null when it cannot be understood. Closes the descriptor. */
export function readTicketsCopy(fd: number): TicketSnapshot | null {
  try {
    return v.parse(ticketSnapshotSchema, readKeeperCopy(fd));
  } catch {
    return null;
  }
}

/** The keys of this process, and what it has left of them with its supervisor. */
export class Tickets {
  readonly ring: TicketRing;
  readonly #supervisor: Supervisor;
  readonly #copy: KeeperCopy;

  /** Goes on with those of an earlier process where there are any. */
  constructor({
    snapshot,
    supervisor,
    troubles,
  }: {
    snapshot: TicketSnapshot | null;
    supervisor: Supervisor;
    troubles: Pick<Troubles, 'attempt'>;
  }) {
    this.#supervisor = supervisor;
    const trouble = 'nobody can be given the keys of session tickets, so that they are others after a crash';
    this.#copy = new KeeperCopy({ prefix, file: 'grace-tickets', supervisor, troubles, trouble });
    this.ring = new TicketRing({ snapshot, changed: () => this.remember() });
  }

  /** For a successor; undefined when no ticket has been sealed yet. */
  get snapshot(): TicketSnapshot | undefined {
    return this.ring.isUsed ? this.ring.snapshot : undefined;
  }

  /** Leave the keys with the supervisor, if a ticket was ever sealed with them. */
  remember(): void {
    const hasSupervisor = this.#supervisor.keeper !== null || this.#supervisor.keepsOverStop;
    if (hasSupervisor && this.ring.isUsed) this.#copy.leave(this.ring.snapshot);
  }

  /** A successor leaves its own, or the daemon ends for good. */
  forget(): void {
    this.#copy.forget();
  }
}
