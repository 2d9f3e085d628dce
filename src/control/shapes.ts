/** What travels over the control socket, as schemas, and the types that follow from them. */
import * as v from 'valibot';
import { maxTimerMs } from '../waiting.ts';

/** Schema of a time in milliseconds; one that is too long for a timer is the longest there is, and not over at once. */
export const milliseconds = v.pipe(
  v.number(),
  v.minValue(0),
  v.transform((ms) => Math.min(ms, maxTimerMs)),
);

/** Schema of an {@link EndpointText}. */
export const endpointText = v.object({
  typed: v.string(),
  absolute: v.string(),
  /** Of a source that is to be stored: the name of its rule. */
  name: v.optional(v.string()),
});
/** An endpoint as the user typed it and with its relative paths made absolute. */
export type EndpointText = v.InferOutput<typeof endpointText>;

/** Schema of a {@link Program}. */
export const program = v.object({ file: v.string(), args: v.array(v.string()) });
/** How a program is started: the file and the arguments that come before grace's own. */
export type Program = v.InferOutput<typeof program>;

/** Schema of a {@link DestinationRow}. */
export const destinationRow = v.object({
  src: v.string(),
  dst: v.string(),
  /** Of the rule, if it has one. */
  name: v.exactOptional(v.string()),
  connections: v.number(),
  /** Whether new connections of the rule go there. */
  active: v.boolean(),
  /** How much of them, where a share goes elsewhere: of the addresses of clients, from 0 to 100. */
  percent: v.exactOptional(v.number()),
  /** Its connections are being closed, and the last will have been by then, ISO 8601. */
  drainUntil: v.exactOptional(v.string()),
  /** The process that holds the connections. */
  pid: v.number(),
  /** Client to destination, destination to client. */
  bytesIn: v.number(),
  bytesOut: v.number(),
  /** Since when the destination is (or was first) the rule's, ISO 8601. */
  since: v.string(),
  /** Where the rule really listens: `127.0.0.1:9000`, `[::]:9000`, a path; empty when it does not (any more). */
  listening: v.string(),
  /** Of a rule that is held: its clients wait. */
  held: v.exactOptional(v.boolean()),
  /** Of these connections, those that wait for the end of the hold. */
  waiting: v.exactOptional(v.number()),
  /** Why a stored rule cannot be served at the moment. */
  error: v.exactOptional(v.string()),
  /** What is to be said of a rule that is served: a certificate that has expired or soon does, a sentence each. */
  warnings: v.exactOptional(v.array(v.string())),
  /** Of an active row: the limits in force by the names of their parameters, those included that nobody set; a value each as people write it. */
  limits: v.exactOptional(v.record(v.string(), v.string())),
  /** Of an active row: clients that this process refused, by reason, where there is a limit for that. */
  refused: v.exactOptional(v.record(v.string(), v.number())),
  /** Until when the first of the certificates that clients of the rule are shown is valid, ISO 8601. */
  certificateEnds: v.exactOptional(v.string()),
  /** The same of those that its destination is shown. */
  clientCertificateEnds: v.exactOptional(v.string()),
  /** Anybody can pretend to be the destination: `insecure=yes`. */
  insecure: v.exactOptional(v.literal(true)),
});
/** One destination of one rule in one process. Shape of an element of `grace ls --json`. */
export type DestinationRow = v.InferOutput<typeof destinationRow>;

const tlsFacts = v.object({ version: v.string(), cipher: v.string(), group: v.exactOptional(v.string()) });

/** Schema of a {@link ConnectionRow}. */
export const connectionRow = v.object({
  /** No other connection has it; it stays the same over a move to another process. */
  id: v.string(),
  src: v.string(),
  dst: v.string(),
  /** Of the rule, if it has one. */
  name: v.exactOptional(v.string()),
  /** `host:port`, `[host]:port` or `unix`. */
  client: v.string(),
  /** `dialing`, `open` or `half-closed`; later versions may know more. */
  state: v.string(),
  /** Seconds since it was accepted, and since a byte last came from either side. */
  age: v.number(),
  idle: v.number(),
  bytesIn: v.number(),
  bytesOut: v.number(),
  /** The process that holds it. */
  pid: v.number(),
  /** Where the destination depends on the name that the client asks for: that name, null for none, and where it went. */
  serverName: v.exactOptional(v.nullable(v.string())),
  to: v.exactOptional(v.string()),
  /** Of the client's side; where only the destination's has TLS, of that one. */
  tls: v.exactOptional(tlsFacts),
  /** Of the destination's side. */
  dstTls: v.exactOptional(tlsFacts),
});
/** One open connection. Shape of an element of `grace ls --connections --json`. */
export type ConnectionRow = v.InferOutput<typeof connectionRow>;

/** Schema of a {@link Selection}. */
export const selection = v.object({
  srcKey: v.exactOptional(v.string()),
  dstKey: v.exactOptional(v.string()),
  client: v.exactOptional(v.string()),
  idleMs: v.exactOptional(milliseconds),
  ids: v.exactOptional(v.array(v.string())),
});
/** Which connections are meant: all that have everything that is named. `client`: see client-address.ts. */
export type Selection = v.InferOutput<typeof selection>;

const generationRow = v.object({ pid: v.number(), version: v.string(), connections: v.number(), since: v.string() });
/** One process of a daemon: the one that serves, or an earlier one that finishes its connections. `since` is ISO 8601. */
export type GenerationRow = v.InferOutput<typeof generationRow>;

/** Schema of a {@link Staying}. */
export const staying = v.object({ connections: v.number(), why: v.string() });
/** Connections that a restart left with an old process for one reason. */
export type Staying = v.InferOutput<typeof staying>;

/** Schema of an {@link Arrival}. */
export const arrival = v.object({
  /** ISO 8601. */
  at: v.string(),
  moved: v.number(),
  movedTls: v.number(),
  staying: v.array(staying),
});
/** What a restart brought to the process that serves now: connections that moved, how many of them have TLS, and what stayed. */
export type Arrival = v.InferOutput<typeof arrival>;

/** Schema of a {@link StatusResult}. */
export const statusResult = v.object({
  pid: v.number(),
  version: v.string(),
  /** Milliseconds since the daemon's first generation came up; carried on by restarts. */
  uptimeMs: v.number(),
  engine: v.string(),
  engineReason: v.string(),
  /** Threads that move bytes, 0 of the portable engine; absent from earlier versions. */
  threads: v.exactOptional(v.number()),
  /** Of the serving process, in bytes of memory that it has to itself or shares (RSS); absent from earlier versions. */
  memoryBytes: v.exactOptional(v.number()),
  /** How often another process took over since the daemon first came up; absent from earlier versions. */
  restarts: v.exactOptional(v.number()),
  /** What came of the last one; absent where there was none, and from earlier versions. */
  lastRestart: v.exactOptional(arrival),
  dir: v.string(),
  /** The log's file, or `-` for standard error; absent from daemons of before. */
  log: v.exactOptional(v.string()),
  /** The same of the access log, `-` for standard output; absent where there is none. */
  accessLog: v.exactOptional(v.string()),
  /** The options of `grace daemon` that it was started with, by name without dashes; absent from earlier versions. */
  options: v.exactOptional(v.record(v.string(), v.string())),
  rules: v.number(),
  /** Of these, those that cannot be served at the moment; absent from earlier versions. */
  failed: v.exactOptional(v.number()),
  connections: v.number(),
  /** Most connections at once (`--maxconn`), how many there are, and how often a rule accepted no more because of it since the daemon came up; absent without such a limit. */
  maxconn: v.exactOptional(v.object({ limit: v.number(), taken: v.number(), waits: v.number() })),
  /** Rules that are held, since when (ISO 8601), and how many clients wait; absent from earlier versions. */
  held: v.exactOptional(v.array(v.object({ src: v.string(), since: v.string(), waiting: v.number() }))),
  /** The process that the pid file names and that starts the daemon again after a crash; null without one. */
  keeper: v.nullable(v.object({ pid: v.number(), version: v.string() })),
  /** Where it answers over HTTP (`--admin`): `127.0.0.1:9900`, a path; absent when it does not. */
  admin: v.exactOptional(v.string()),
  /** What the daemon goes on without, a sentence each; absent from earlier versions. */
  problems: v.exactOptional(v.array(v.string())),
  /** Where `apply --watch` follows rules in etcd; `staleSince` (ISO 8601): since when it cannot, and they stay as they are; `problem`: why it cannot, or what is not in force. */
  sources: v.exactOptional(
    v.array(
      v.object({
        source: v.string(),
        staleSince: v.exactOptional(v.string()),
        problem: v.exactOptional(v.string()),
      }),
    ),
  ),
  /** Where the services are to which `srv` destinations lead, as DNS last said; absent where there is none. Those of the lowest priority come first. */
  services: v.exactOptional(
    v.array(
      v.object({
        name: v.string(),
        targets: v.array(
          v.object({
            host: v.string(),
            port: v.number(),
            priority: v.number(),
            weight: v.number(),
            addresses: v.array(v.string()),
          }),
        ),
      }),
    ),
  ),
  /** What is to be said of the certificates of rules, a sentence each; absent from earlier versions. */
  warnings: v.exactOptional(v.array(v.string())),
  /** The serving process first, then the older ones that still drain, newest first. */
  generations: v.array(generationRow),
});
/** What `grace status` tells. */
export type StatusResult = v.InferOutput<typeof statusResult>;

const status = v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(999));
const path = v.pipe(v.string(), v.regex(/^\/[!-~]*$/));
/** Schema of a {@link Check}. */
export const check = v.union([
  v.boolean(),
  v.object({
    http: v.object({
      path,
      least: status,
      most: status,
      timeoutMs: milliseconds,
      limitMs: v.exactOptional(milliseconds),
    }),
  }),
]);
/**
 * What a destination must do before it is a rule's: nothing, accept, or answer a GET over HTTP with a
 * status from `least` to `most` within `timeoutMs` of the accept, and all of it within `limitMs`. An older daemon refuses the last one instead of passing over it.
 */
export type Check = v.InferOutput<typeof check>;

const keyedRow = v.object({ srcKey: v.string(), dstKey: v.string(), row: destinationRow });
/** A destination with what tells, across processes, which rule it is of and where it leads. */
export type KeyedRow = v.InferOutput<typeof keyedRow>;

/** Of what can only be added to. */
const count = v.pipe(v.number(), v.finite(), v.minValue(0));

const sourceCounts = v.object({
  /** Equal for sources on the same address. */
  key: v.string(),
  /** As it was typed. */
  src: v.string(),
  /** Connections that are open where this was counted. */
  connections: count,
  /** By the names of engine/tally.ts. */
  numbers: v.record(v.string(), count),
});
/** What was counted of the connections of one source. */
export type SourceCounts = v.InferOutput<typeof sourceCounts>;

/** Schema of {@link Counts}. */
export const counts = v.object({ sources: v.array(sourceCounts), daemon: v.record(v.string(), count) });
/** What processes of a daemon have counted since they came up: of each source, and of themselves. */
export type Counts = v.InferOutput<typeof counts>;

/** Schema of a {@link GenerationReport}. */
export const generationReport = v.object({
  pid: v.number(),
  version: v.string(),
  since: v.string(),
  rows: v.array(keyedRow),
  /** It was replaced, and tells of bytes that no successor counts, also of destinations that have drained. */
  isRest: v.exactOptional(v.boolean()),
  /** What this process alone has counted; absent from earlier versions. */
  counts: v.exactOptional(counts),
  /** Where addresses have limits of their own: what it still has of each, as rows of numbers. Only when it is asked for a report. */
  addresses: v.exactOptional(v.array(v.object({ srcKey: v.string(), row: v.array(v.number()) }))),
});
/** What one generation says of itself to the daemon that serves. */
export type GenerationReport = v.InferOutput<typeof generationReport>;
