/**
 * What client and daemon say to each other over the control socket.
 *
 * A client connects, writes one request as a line of JSON, and reads lines of JSON: any number of
 * `{"progress": …}`, then one `{"result": …}` or `{"error": …}`. Closing early cancels the request.
 * Unknown properties are ignored, so that an older and a newer executable understand each other.
 */
import * as v from 'valibot';
import { quoted } from '../endpoint/error.ts';
import { GraceError, errorMessage } from '../error.ts';
import { exitCodeOf, kindOfExitCode } from '../kinds.ts';
import { conversationsOfCommands } from './commands.ts';
import { connectionRow, endpointText, generationReport, milliseconds, selection } from './shapes.ts';

/** What grace's own processes ask of each other. */
const conversationsOfProcesses = {
  /** Of a process that wants to be the daemon's keeper and listens on `path`: connect there and send a channel. */
  keeper: { request: v.object({ path: v.string() }), answer: v.object({}), progress: v.never() },
  /** Of `apply --watch`: its file cannot be followed at the moment, for this reason. No result: it holds for as long as the request does. */
  'rules-file': {
    request: v.object({ file: v.string(), problem: v.string() }),
    answer: v.object({}),
    progress: v.never(),
  },
  /** Of `apply --watch` of etcd: how following that goes, which holds for as long as the request does. Progress: whom it was said to. */
  'rules-source': {
    request: v.object({
      source: v.string(),
      /** Grows with all that is said of the source: what was said before and comes late counts for nothing. */
      sequence: v.number(),
      problem: v.exactOptional(v.string()),
      staleSince: v.exactOptional(v.string()),
    }),
    answer: v.object({}),
    progress: v.object({ generation: v.number(), pid: v.number(), version: v.string() }),
  },
  /** Open connections, of one rule or of all, some at a time. Notes: which older process did not tell of its own, and why. */
  connections: {
    request: v.object({ src: v.optional(endpointText) }),
    answer: v.object({ notes: v.array(v.string()) }),
    progress: v.object({ connections: v.array(connectionRow) }),
  },
  /** The same of the serving daemon to an older generation. */
  'generation-connections': {
    request: v.object({ selection }),
    answer: v.object({ notes: v.array(v.string()) }),
    progress: v.object({ connections: v.array(connectionRow) }),
  },
  /** Close those of its connections that are meant. */
  'generation-close': {
    request: v.object({ selection }),
    answer: v.object({ closed: v.number() }),
    progress: v.never(),
  },
  /** Close its connections of a source evenly over so many milliseconds, but those to the destinations that are to be kept. */
  'generation-drain': {
    request: v.object({ srcKey: v.string(), keep: v.array(v.string()), overMs: milliseconds }),
    answer: v.object({ draining: v.number() }),
    progress: v.never(),
  },
  /** Of the serving daemon to an older generation, on the socket that that one kept; and `isBrief`, of a client, to hear that somebody is there. */
  'generation-report': {
    request: v.object({ isBrief: v.optional(v.boolean()) }),
    answer: generationReport,
    progress: v.never(),
  },
  /** Progress: at the start, and whenever a destination has drained. No result while the generation lives; its last report then. */
  'generation-follow': { request: v.object({}), answer: generationReport, progress: generationReport },
  /** Clients that wait for the end of a hold, of one rule or with that key alone, go to `dst` from now on; and go on, unless it is still held. */
  'generation-hold': {
    request: v.object({
      src: v.optional(endpointText),
      srcKey: v.optional(v.string()),
      dst: v.optional(endpointText),
      isHeld: v.boolean(),
    }),
    answer: v.object({ waiting: v.number() }),
    progress: v.never(),
  },
  /** Without srcKey every connection; the generation then ends. */
  'generation-stop': {
    request: v.object({ srcKey: v.optional(v.string()), timeoutMs: milliseconds }),
    answer: v.object({ closed: v.number() }),
    progress: v.never(),
  },
};

const conversations = { ...conversationsOfCommands, ...conversationsOfProcesses };
type Conversations = typeof conversations;

/** The names of requests. */
export type Command = keyof Conversations;

type Requests = { [C in Command]: { command: C } & v.InferOutput<Conversations[C]['request']> };
/** A request of that name, as it goes over the control socket. */
export type Request<C extends Command = Command> = Requests[C];
/** Its answer. */
export type Result<C extends Command> = v.InferOutput<Conversations[C]['answer']>;
/** What is told while its answer is waited for. */
export type Progress<C extends Command> = v.InferOutput<Conversations[C]['progress']>;

const failure = v.object({
  message: v.string(),
  hint: v.exactOptional(v.string()),
  code: v.exactOptional(v.string()),
  exitCode: v.number(),
  retry: v.exactOptional(v.boolean()),
});
/** Why a request failed: the parts of a GraceError. `exitCode` is all that earlier versions say and read of its kind. `retry`: ask the daemon that serves now. */
export type Failure = v.InferOutput<typeof failure>;

/** What is said of an error to another process; only a GraceError has a hint and a kind. */
export function failureOf(error: unknown): Failure {
  const { hint, code } = error instanceof GraceError ? error : { hint: undefined, code: undefined };
  return {
    message: errorMessage(error),
    exitCode: exitCodeOf(error),
    ...(hint ? { hint } : {}),
    ...(code ? { code } : {}),
  };
}

/** The error that another process told of. */
export function errorOf({ message, hint, code, exitCode }: Failure): GraceError {
  return new GraceError(message, { hint, code: code ?? kindOfExitCode(exitCode) });
}

const anyRequest = v.object({ command: v.picklist(Object.keys(conversations) as Command[]) });

/** How a daemon, one of an earlier version too, begins to say that it has no such request. */
const notUnderstood = 'the daemon does not understand the request';

/** Whether a daemon of another version has refused a request because it does not know it. */
export function isNotUnderstood(error: unknown): boolean {
  return error instanceof GraceError && error.message.startsWith(notUnderstood);
}

/** A request as it was received. Throws GraceError for anything else. */
export function readRequest(message: unknown): Request {
  try {
    const { command } = v.parse(anyRequest, message);
    return { command, ...v.parse(conversations[command].request, message) } as Request;
  } catch (error) {
    const command = typeof message === 'object' && message !== null && 'command' in message ? message.command : '';
    const name = typeof command === 'string' ? quoted(command) : 'without a name';
    throw new GraceError(`${notUnderstood} ${name}: ${errorMessage(error)}`, {
      hint: 'client and daemon may be of different versions; bring the daemon to yours with: grace restart',
    });
  }
}

const envelope = v.object({
  progress: v.optional(v.unknown()),
  result: v.optional(v.unknown()),
  error: v.optional(failure),
});

/** What a daemon says: one of the three, or, of a later version, something else. */
export type Reply<C extends Command> = { progress?: Progress<C>; result?: Result<C>; error?: Failure };

/** A line that came from the daemon. Throws GraceError for what is none of `command`. */
export function readReply<C extends Command>(command: C, message: unknown): Reply<C> {
  try {
    const { progress, result, error } = v.parse(envelope, message);
    if (error) return { error };
    const { answer, progress: told } = conversations[command];
    if (result !== undefined) return { result: v.parse(answer, result) };
    return progress === undefined ? {} : { progress: v.parse(told, progress) };
  } catch (error) {
    throw new GraceError(`the answer of the daemon to "${command}" is not understood: ${errorMessage(error)}`, {
      hint: 'client and daemon may be of different versions; bring the daemon to yours with: grace restart',
      cause: error,
    });
  }
}
