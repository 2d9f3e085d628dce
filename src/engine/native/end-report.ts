/** What the main thread is told of a connection that ends: everything at once, or later in numbers where they say all. */
import type { ClosingReason } from '../closing-reason.ts';
import type { Adopter } from './adopt.ts';
import { CODED } from './connection-table.ts';
import type { Headers } from './headers.ts';
import type { Mailbox } from './mailbox.ts';
import type { EndReport } from './messages.ts';
import { hasPlainPeer, peerOf } from './peer.ts';
import type { Relay } from './relay.ts';
import type { Thread } from './thread.ts';

/** How a connection has ended, and after how long. */
export type End = Pick<EndReport, 'stage' | 'why' | 'reason' | 'durationMs'>;

type Others = { relay: Relay; adopter: Adopter; mailbox: Mailbox; headers: Headers };

/** Reports the ends of connections of one thread, whose rows are filled in still. */
export class EndReporter {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #adopter: Adopter;
  readonly #mailbox: Mailbox;
  readonly #headers: Headers;

  constructor(thread: Thread, { relay, adopter, mailbox, headers }: Others) {
    this.#thread = thread;
    this.#relay = relay;
    this.#adopter = adopter;
    this.#mailbox = mailbox;
    this.#headers = headers;
  }

  /** Report an end now. */
  report(client: number, end: End): void {
    const way = this.#thread.ways.get(client);
    this.#mailbox.addEnd({
      ...this.#countsOf(client, end.durationMs),
      ...end,
      ...(way && { way: way.upstream.plan.id, chosen: way.chosen }),
      peer: peerOf(this.#thread, client),
      via: this.#headers.viaOf(client),
      tls: this.#thread.table.has(client, CODED) ? this.#relay.wire.tlsOf(client) : null,
    });
  }

  /** Report an orderly end that is told of later, in numbers where they say all. */
  reportSoon(client: number, stage: EndReport['stage'], why: ClosingReason, durationMs: number): void {
    const isPlain = hasPlainPeer(this.#thread, client) && !this.#thread.table.has(client, CODED);
    if (!isPlain || this.#headers.viaOf(client) !== null || this.#thread.ways.has(client))
      return this.report(client, { stage, why, durationMs, reason: null });
    const { table, now } = this.#thread;
    const generation = this.#adopter.originOf(client) ?? null;
    this.#mailbox.addQuietEnd(table, client, { stage, why, durationMs, generation }, now);
  }

  /** What the table knows of a connection that ends. */
  #countsOf(
    client: number,
    durationMs: number,
  ): Pick<EndReport, 'upstream' | 'frontend' | 'startedMs' | 'connectMs' | 'generation' | 'bytesIn' | 'bytesOut'> {
    const { table } = this.#thread;
    const server = table.other(client);
    return {
      upstream: table.upstream(client),
      frontend: table.frontend(client),
      startedMs: Date.now() - durationMs,
      connectMs: server === -1 ? null : table.connectMs(server),
      generation: this.#adopter.originOf(client) ?? null,
      bytesIn: table.bytes(client),
      bytesOut: server === -1 ? 0 : table.bytes(server),
    };
  }
}
