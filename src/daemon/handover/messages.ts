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
import { counts, endpointText, staying } from '../../control/shapes.ts';
import type { EndpointText, GenerationReport } from '../../control/shapes.ts';
import { GraceError } from '../../error.ts';
import type { TicketSnapshot } from '../../engine/ticket-ring.ts';
import { eventSchema } from '../admin/events.ts';
import type { HandedAdmin } from '../admin/events.ts';
import { ruleSchema, shareSchema } from '../state/rules-file.ts';
import type { StoredRule, StoredShare } from '../state/rules-file.ts';
import { ticketSnapshotSchema } from '../state/tickets-memory.ts';

/** Schema of a {@link HandedHold}. */
const handedHold = v.object({
  since: v.string(),
  maxWaiting: v.number(),
  leftMs: v.optional(v.number()),
  holders: v.array(v.object({ id: v.string(), timeoutMs: v.number() })),
});

/** How a rule is held (rules/holds.ts): since when (ISO 8601), how many clients may wait, when it ends in any case, in milliseconds from now, and by whom. */
export type HandedHold = v.InferOutput<typeof handedHold>;

/** A rule as it is handed over, with its counters in bytes and since when they count (ISO 8601). */
export type HandedRule = {
  src: EndpointText;
  dst: EndpointText;
  /** Index of its listener in the inherited ones; null for a rule that is stored but not served. */
  listener: number | null;
  bytesIn: number;
  bytesOut: number;
  since: string;
  /** Where a share of its clients goes. This and what follows is absent where there is none, and from earlier versions. */
  share?: StoredShare | undefined;
  /** The same of the other destinations that it has or may go back to. */
  others?: { dst: EndpointText; bytesIn: number; bytesOut: number; since: string }[] | undefined;
  trial?: HandedTrial | undefined;
  /** What its addresses had by then; see Admission.addresses. Absent without such limits, and from earlier versions. */
  addresses?: number[] | undefined;
  /** Absent from earlier versions, and where it is not held. */
  hold?: HandedHold | undefined;
};

/** A switch that is on trial: where the rule goes back to, the destination that is watched, and what is left of the time. */
export type HandedTrial = {
  before: { dst: EndpointText; share?: StoredShare | undefined };
  watched: EndpointText;
  leftMs: number;
};

/** A socket that init or another parent gave to the first generation, whether a rule uses it or not. */
export type HandedSocket = { listener: number; fd: number; index: number | null; name: string };

/** Everything that a successor is told before it opens anything. */
export type Handover = {
  format: 1;
  version: string;
  pid: number;
  /** The pid of its keeper; absent where it has none, and from earlier versions. */
  keeper?: number | undefined;
  /** When the first generation came up, ISO 8601. */
  startedAt: string;
  /** How long ago that was, in milliseconds, whatever the clock on the wall says meanwhile. */
  uptimeMs?: number | undefined;
  /** Which process of this daemon the predecessor is, from 1. */
  generation?: number | undefined;
  rules: HandedRule[];
  sockets: HandedSocket[];
  /** Inode numbers of the lock and of the listeners in the order in which they are inherited, to tell that they are what they should be. Absent from earlier versions, and where the system has none that another process sees. */
  inodes?: { lock: number; listeners: number[] } | undefined;
  /** Kept rules that the old version did not understand. */
  unread?: StoredRule[] | undefined;
  /** The endpoint of `--admin`: index of its listener in the inherited ones, null when it is not open, and what happened lately. */
  admin?: HandedAdmin | undefined;
  /** How open connections can be moved, see move.ts; absent when they cannot. */
  move?: number | undefined;
  /** In which form those with TLS would come; absent where there are none that move, and from earlier versions. */
  moveTls?: number | undefined;
  /** What seals session tickets; absent when none was sealed, and from earlier versions. */
  tickets?: TicketSnapshot | undefined;
};

/** JSON has numbers that are none to us (1e999), and that no answer could tell of. */
const number = v.pipe(v.number(), v.finite());

/** Schema of a {@link Handover}. */
const handoverSchema = v.object({
  format: v.literal(1),
  version: v.string(),
  pid: number,
  keeper: v.optional(number),
  startedAt: v.pipe(
    v.string(),
    v.check((text) => !Number.isNaN(Date.parse(text)), 'no time'),
  ),
  uptimeMs: v.optional(number),
  generation: v.optional(number),
  rules: v.array(
    v.object({
      src: endpointText,
      dst: endpointText,
      listener: v.nullable(number),
      bytesIn: number,
      bytesOut: number,
      since: v.string(),
      share: v.optional(shareSchema),
      others: v.optional(
        v.array(v.object({ dst: endpointText, bytesIn: number, bytesOut: number, since: v.string() })),
      ),
      trial: v.optional(
        v.object({
          before: v.object({ dst: endpointText, share: v.optional(shareSchema) }),
          watched: endpointText,
          leftMs: number,
        }),
      ),
      addresses: v.optional(v.array(number)),
      hold: v.optional(handedHold),
    }),
  ),
  sockets: v.array(v.object({ listener: number, fd: number, index: v.nullable(number), name: v.string() })),
  inodes: v.optional(v.object({ lock: number, listeners: v.array(number) })),
  admin: v.optional(v.object({ listener: v.nullable(number), events: v.array(eventSchema) })),
  move: v.optional(number),
  moveTls: v.optional(number),
  tickets: v.optional(ticketSnapshotSchema),
  unread: v.optional(v.array(ruleSchema)),
});

/** What a generation said of itself, as far as it has to be looked at here. */
const report = v.custom<GenerationReport>(
  (value) =>
    v.is(
      v.looseObject({
        pid: v.number(),
        since: v.string(),
        rows: v.array(v.looseObject({ srcKey: v.string(), dstKey: v.string() })),
      }),
      value,
    ),
  'no report of a generation',
);

const goSchema = v.object({
  go: v.literal(true),
  /** Connections that count for the limit of each rule, in the order of `rules`; 0 without a limit. Absent from earlier versions. */
  connections: v.optional(v.array(v.number())),
  /** The same of addresses with limits of their own. Absent from earlier versions. */
  addresses: v.optional(v.array(v.array(v.number()))),
  /** What the older generations last said of themselves. Absent from earlier versions. */
  generations: v.optional(v.array(report)),
  /** What processes that have ended had counted. Absent from earlier versions. */
  ended: v.optional(counts),
  /** Connections that stay, where none moves. Absent where some do, and from earlier versions. */
  staying: v.optional(v.array(staying)),
});

/** The old process accepts no more. */
export type GoMessage = v.InferOutput<typeof goSchema>;

const readySchema = v.object({
  ready: v.object({
    pid: v.number(),
    version: v.string(),
    move: v.optional(v.number()),
    moveTls: v.optional(v.number()),
  }),
});

/** The new process has everything open; `move`: how it takes connections, absent when it takes none; `moveTls`: the same of those with TLS. */
export type ReadyMessage = v.InferOutput<typeof readySchema>;

const successorSchemas = {
  ready: readySchema,
  serving: v.object({ serving: v.literal(true) }),
  failed: v.object({ failed: v.looseObject({ message: v.string(), hint: v.optional(v.string()) }) }),
};

/** What the new process says until it serves. */
export type SuccessorMessage = Infer<typeof successorSchemas>;

/** `drainMs`: connections are being closed evenly, over so many milliseconds from now on; absent when they are not, and from earlier versions. */
const place = { src: endpointText, dst: endpointText, since: v.string(), drainMs: v.optional(v.number()) };
const moveSchemas = {
  batch: v.object({ batch: v.object({ id: v.number(), ...place }) }),
  keep: v.object({ keep: v.number() }),
  drop: v.object({ drop: v.number() }),
  moved: v.object({
    moved: v.object({
      totals: v.array(v.object({ ...place, bytesIn: v.number(), bytesOut: v.number() })),
      ended: v.optional(v.array(report)),
      /** Absent from earlier versions. */
      staying: v.optional(v.array(staying)),
    }),
  }),
};
const moveAnswerSchemas = {
  received: v.object({ received: v.number() }),
  refused: v.object({ refused: v.number(), reason: v.string() }),
  counted: v.object({ counted: v.literal(true), known: v.optional(v.array(v.number())) }),
};

/** What the old process says of the connections that it moves. */
export type MoveMessage = Infer<typeof moveSchemas>;
/** What the new process answers to a `batch` and to `moved`. */
export type MoveAnswer = Infer<typeof moveAnswerSchemas>;

/** One end of the channel of the restart, while connections move. */
export type MoveChannel = {
  send(message: MoveMessage | MoveAnswer): void;
  /** The next message, as it came; null when the other process is gone. */
  receive(): Promise<unknown>;
};

type Schemas = Record<string, v.GenericSchema<unknown, object>>;
type Infer<S extends Schemas> = { [K in keyof S]: v.InferOutput<S[K]> }[keyof S];

/** The message that a value is; null when it is none of these kinds, as another version may have. Throws GraceError when it is one that lacks something. */
function read<S extends Schemas>(schemas: S, value: unknown, sender: string): Infer<S> | null {
  if (typeof value !== 'object' || value === null) return null;
  for (const [kind, schema] of Object.entries(schemas)) {
    if (!(kind in value)) continue;
    const parsed = v.safeParse(schema, value);
    if (parsed.success) return parsed.output as Infer<S>;
    throw new GraceError(
      `cannot understand what ${sender} says ("${kind}"): ${v.getDotPath(parsed.issues[0])}: ${parsed.issues[0].message}`,
    );
  }
  return null;
}

/** A message of the new process; null for what is none. Throws GraceError for one that is not as it should be. */
export function readSuccessorMessage(value: unknown): SuccessorMessage | null {
  return read(successorSchemas, value, 'the new process');
}

/** The word of the old process that the state dir is this one's. Throws GraceError for anything else. */
export function readGo(value: unknown): GoMessage {
  const go = read({ go: goSchema }, value, 'the daemon that is to be replaced');
  if (go === null) throw new GraceError('the daemon that is to be replaced did not say that it is');
  return go;
}

/** A message of the old process about connections; null for one of another kind. Throws GraceError for one that is not as it should be. */
export function readMoveMessage(value: unknown): MoveMessage | null {
  return read(moveSchemas, value, 'the old process');
}

/** An answer of the new process about connections. Throws GraceError when it is gone, or says anything else. */
export function readMoveAnswer(value: unknown): MoveAnswer {
  if (value === null) throw new GraceError('the new process went away');
  const answer = read(moveAnswerSchemas, value, 'the new process');
  if (answer === null) throw new GraceError('the new process talks about something else');
  return answer;
}

/** Read what a predecessor hands over. Throws GraceError when this version cannot go on with it. */
export function parseHandover(message: unknown): Handover {
  const parsed = v.safeParse(handoverSchema, message);
  if (parsed.success) return parsed.output;
  const { format, version } = (typeof message === 'object' && message !== null ? message : {}) as Partial<Handover>;
  const why =
    format === 1
      ? parsed.issues[0].message
      : `what version ${told(version)} hands over has format ${told(format)}, and this version reads format 1`;
  throw new GraceError(`this version cannot take over from the running daemon: ${why}`, {
    hint: 'stop the daemon and start it with this version, or restart with a version that is nearer to it',
  });
}

/** A value that should be a word or a number, in a sentence. */
function told(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : 'unknown';
}
