/**
 * What client and daemon say to each other over the control socket.
 *
 * A client connects, writes one request as a line of JSON, and reads lines of JSON: any number of
 * `{"progress": …}`, then one `{"result": …}` or `{"error": …}`. Closing early cancels the request.
 * Unknown properties are ignored, so that an older and a newer executable understand each other.
 */
import * as v from 'valibot';
import { GraceError, errorMessage } from '../error.ts';
import { exitCodeOf, kindOfExitCode } from '../kinds.ts';

/** An endpoint as the user typed it and with its relative paths made absolute. */
export type EndpointText = { typed: string; absolute: string; /** Of a source that is to be kept: the name of its rule. */ name?: string | undefined };

/** How a program is started: the file and the arguments that come before grace's own. */
export type Invocation = { file: string; args: string[] };

/** One destination of one rule in one process. Shape of an element of `grace ls --json`. */
export type DestinationRow = {
  src: string;
  dst: string;
  /** Of the rule, if it has one. */
  name?: string;
  connections: number;
  /** Whether new connections of the rule go there. */
  active: boolean;
  /** The process that holds the connections. */
  pid: number;
  /** Client to destination, destination to client. */
  bytesIn: number;
  bytesOut: number;
  /** Since when the destination is (or was first) the rule's, ISO 8601. */
  since: string;
  /** Where the rule really listens: `127.0.0.1:9000`, `[::]:9000`, a path; empty when it does not (any more). */
  listening: string;
  /** Why a kept rule cannot be served at the moment. */
  error?: string;
  /** What is to be said of a rule that is served: a certificate that has expired or soon does, a sentence each. */
  warnings?: string[];
};

/**
 * One process of a daemon: the one that serves, or an earlier one that finishes its connections. `since` is
 * ISO 8601.
 */
export type GenerationRow = { pid: number; version: string; connections: number; since: string };

/** What `grace status` tells. */
export type StatusResult = {
  pid: number;
  version: string;
  /** Milliseconds since the daemon's first generation came up; carried on by restarts. */
  uptimeMs: number;
  engine: string;
  engineReason: string;
  dir: string;
  /** The log's file, or `-` for standard error; absent from daemons of before. */
  log?: string;
  rules: number;
  connections: number;
  /** The process that the pid file names and that starts the daemon again after a crash; null without one. */
  keeper: { pid: number; version: string } | null;
  /** What the daemon goes on without, a sentence each; absent from earlier versions. */
  problems?: string[];
  /** What is to be said of the certificates of rules, a sentence each; absent from earlier versions. */
  warnings?: string[];
  /** The serving process first, then the older ones that still drain, newest first. */
  generations: GenerationRow[];
};

/**
 * What a destination must do before it is a rule's: nothing, accept, or answer a GET over HTTP with a
 * status from `least` to `most` within the time. An older daemon refuses the last one instead of passing over it.
 */
export type Check = boolean | { http: { path: string; least: number; most: number; timeoutMs: number } };

/** What a client asks a daemon, with its answer and what comes before it. */
export type Requests = {
  /** With `switch`, a source that is forwarded already gets the destination and the parameters that are given, if DST passes the check. A check of HTTP is one of a new rule's too. */
  start: { request: { command: 'start'; src: EndpointText; dst: EndpointText; startedForIt?: boolean; switch?: boolean; check?: Check }; result: { changed: boolean; notes: string[]; /** That the destination does not accept now: for a person at a terminal, and in JSON. */ ofDestination?: string[] }; progress: never };
  switch: { request: { command: 'switch'; src: EndpointText; dst: EndpointText; check: Check }; result: { changed: boolean; notes: string[] }; progress: never };
  ls: { request: { command: 'ls'; src?: EndpointText }; result: { rows: DestinationRow[] }; progress: never };
  /** Progress: what it still waits for, at the start and whenever that changes. */
  wait: { request: { command: 'wait'; src?: EndpointText }; result: Record<string, never>; progress: { waiting: DestinationRow[] } };
  /** Without src: the whole daemon, every generation of it; its process ends right after the result. */
  stop: { request: { command: 'stop'; src?: EndpointText; timeoutMs: number }; result: { closed: number; pids: number[] }; progress: { waiting: DestinationRow[] } };
  restart: {
    request: { command: 'restart'; exec: Invocation; timeoutMs: number };
    /** Open connections that moved to the new process, how many of these have TLS, and those that finish in an old one, with why; `moved` is absent from daemons of before. */
    result: { oldPid: number; newPid: number; oldVersion: string; newVersion: string; moved?: number; movedTls?: number; draining: number; why?: string };
    progress: never;
  };
  status: { request: { command: 'status' }; result: StatusResult; progress: never };
  /** Of a process that wants to be the daemon's keeper and listens on `path`: connect there and send a channel. */
  keeper: { request: { command: 'keeper'; path: string }; result: Record<string, never>; progress: never };
};

/** A destination with what tells, across processes, which rule it is of and where it leads. */
export type KeyedRow = { srcKey: string; dstKey: string; row: DestinationRow };

/** What one generation says of itself to the daemon that serves. */
export type GenerationReport = {
  pid: number;
  version: string;
  since: string;
  rows: KeyedRow[];
  /** It was replaced, and tells of bytes that no successor counts, also of destinations that have drained. */
  isRest?: boolean;
};

/** Requests of the serving daemon to an older generation, on the socket that that one kept. */
export type GenerationRequests = {
  'generation-report': { request: { command: 'generation-report' }; result: GenerationReport; progress: never };
  /** Progress: at the start, and whenever a destination has drained. No result while the generation lives; its last report then. */
  'generation-follow': { request: { command: 'generation-follow' }; result: GenerationReport; progress: GenerationReport };
  /** Without srcKey every connection; the generation then ends. */
  'generation-stop': { request: { command: 'generation-stop'; srcKey?: string; timeoutMs: number }; result: { closed: number }; progress: never };
};

type AllRequests = Requests & GenerationRequests;

/** The names of requests. */
export type Command = keyof AllRequests;
/** A request of that name, as it goes over the control socket. */
export type Request<C extends Command = Command> = AllRequests[C]['request'];
/** Its answer. */
export type Result<C extends Command> = AllRequests[C]['result'];
/** What is told while its answer is waited for. */
export type Progress<C extends Command> = AllRequests[C]['progress'];

/** Why a request failed: the parts of a GraceError. `exitCode` is all that earlier versions say and read of its kind. `retry`: ask the daemon that serves now. */
export type Failure = { message: string; hint?: string; code?: string; exitCode: number; retry?: boolean };

/** What is said of an error to another process; only a GraceError has a hint and a kind. */
export function failureOf(error: unknown): Failure {
  const { hint, code } = error instanceof GraceError ? error : { hint: undefined, code: undefined };
  return { message: errorMessage(error), exitCode: exitCodeOf(error), ...(hint ? { hint } : {}), ...(code ? { code } : {}) };
}

/** The error that another process told of. */
export function errorOf({ message, hint, code, exitCode }: Failure): GraceError {
  return new GraceError(message, { hint, code: code ?? kindOfExitCode(exitCode) });
}

/** Schema of an {@link EndpointText}. */
export const endpointText = v.object({ typed: v.string(), absolute: v.string(), name: v.optional(v.string()) });
const milliseconds = v.pipe(v.number(), v.minValue(0));

const status = v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(999));
const path = v.pipe(v.string(), v.regex(/^\/[!-~]*$/));
const check = v.union([v.boolean(), v.object({ http: v.object({ path, least: status, most: status, timeoutMs: milliseconds }) })]);

/** Schema of a request; anything else is answered with an error. */
export const requestSchema = v.variant('command', [
  v.object({ command: v.literal('start'), src: endpointText, dst: endpointText, startedForIt: v.optional(v.boolean()), switch: v.optional(v.boolean()), check: v.optional(check) }),
  v.object({ command: v.literal('switch'), src: endpointText, dst: endpointText, check }),
  v.object({ command: v.literal('ls'), src: v.optional(endpointText) }),
  v.object({ command: v.literal('wait'), src: v.optional(endpointText) }),
  v.object({ command: v.literal('stop'), src: v.optional(endpointText), timeoutMs: milliseconds }),
  v.object({
    command: v.literal('restart'),
    exec: v.object({ file: v.string(), args: v.array(v.string()) }),
    timeoutMs: milliseconds,
  }),
  v.object({ command: v.literal('status') }),
  v.object({ command: v.literal('keeper'), path: v.string() }),
  v.object({ command: v.literal('generation-report') }),
  v.object({ command: v.literal('generation-follow') }),
  v.object({ command: v.literal('generation-stop'), srcKey: v.optional(v.string()), timeoutMs: milliseconds }),
]);
