/**
 * What an old and a new daemon say to each other, a line of JSON each: the old one writes to the new
 * one's stdin, the new one to its stdout.
 *
 *     old → new   handover   rules, names of the inherited listeners, ages and counters
 *     new → old   ready      everything is open, and it accepts
 *     old → new   go         the old one accepts no more: the state dir is yours; how many connections count for limits
 *     new → old   serving    control socket and pid file are the new one's
 *     both        the open connections, if both say that they can: move.ts
 *
 * Or `failed`, instead of `ready` or `serving`. Until `serving` the old one can go on as if nothing
 * had happened. The queue of a listener is never without somebody who accepts from it.
 */
import * as v from 'valibot';
import { endpointText } from '../../control/messages.ts';
import type { EndpointText, Failure, GenerationReport } from '../../control/messages.ts';
import { GraceError } from '../../error.ts';
import type { KeptRule } from '../state/rules-file.ts';

export { handoverVariable } from '../../control/launch.ts';

export type HandedRule = {
  src: EndpointText;
  dst: EndpointText;
  /** Index of its listener in the inherited ones; null for a rule that is kept but not served. */
  listener: number | null;
  bytesIn: number;
  bytesOut: number;
  since: string;
};

/** A socket that init or another parent gave to the first generation, whether a rule uses it or not. */
export type HandedSocket = { listener: number; fd: number; index: number | null; name: string };

export type Handover = {
  format: 1;
  version: string;
  pid: number;
  /** When the first generation came up, ISO 8601. */
  startedAt: string;
  /** How long ago that was, in milliseconds, whatever the clock on the wall says meanwhile. */
  uptimeMs?: number | undefined;
  /** Which process of this daemon the predecessor is, from 1. */
  generation?: number | undefined;
  rules: HandedRule[];
  sockets: HandedSocket[];
  /** Kept rules that the old version did not understand. */
  unread?: KeptRule[] | undefined;
  /** How open connections can be moved, see move.ts; absent when they cannot. */
  move?: number | undefined;
};

export const handoverSchema = v.object({
  format: v.literal(1),
  version: v.string(),
  pid: v.number(),
  startedAt: v.string(),
  uptimeMs: v.optional(v.number()),
  generation: v.optional(v.number()),
  rules: v.array(
    v.object({
      src: endpointText,
      dst: endpointText,
      listener: v.nullable(v.number()),
      bytesIn: v.number(),
      bytesOut: v.number(),
      since: v.string(),
    }),
  ),
  sockets: v.array(v.object({ listener: v.number(), fd: v.number(), index: v.nullable(v.number()), name: v.string() })),
  move: v.optional(v.number()),
  unread: v.optional(v.array(v.object({ src: endpointText, dst: endpointText, port: v.optional(v.number()) }))),
});

/** What comes with `go`, from versions that say it. */
export type GoMessage = {
  /** Connections that count for the limit of each rule, in the order of `rules`; 0 without a limit. */
  connections: number[];
  /** What the older generations last said of themselves. */
  generations: GenerationReport[];
};

export type SuccessorMessage = { ready: { pid: number; version: string; move?: number } } | { serving: true } | { failed: Failure };

export function parseHandover(message: unknown): Handover {
  const parsed = v.safeParse(handoverSchema, message);
  if (parsed.success) return parsed.output;
  const { format, version } = (typeof message === 'object' && message !== null ? message : {}) as Partial<Handover>;
  const why = format === 1 ? parsed.issues[0].message : `what version ${version} hands over has format ${format}, and this version reads format 1`;
  throw new GraceError(`this version cannot take over from the running daemon: ${why}`, {
    hint: 'stop the daemon and start it with this version, or restart with a version that is nearer to it',
  });
}
