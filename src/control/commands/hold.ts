/** Commands that keep the clients of a rule waiting, and let them go on. */
import * as v from 'valibot';
import { endpointText, milliseconds } from '../shapes.ts';
import type { Definition } from './definition.ts';
import { json, src } from './shared-arguments.ts';

/** Their definitions, in the order of the help. */
export const holdCommands = {
  hold: {
    aliases: [],
    summary: 'keep the clients of SRC waiting, while a command runs or until release',
    details: [
      'Clients are accepted, shake hands where SRC has TLS, and wait: for what is done to the server behind DST they see a slow answer instead of an error. With -- CMD, that command is run meanwhile, with this terminal and environment; then clients go on as soon as DST accepts again, and the exit code is that of CMD. Without it, until "grace release".',
      'Connections that are open go on. Before CMD runs, or the command returns, they get a moment (--drain) to end by themselves, so that a request that is being answered is not cut off.',
      'A hold goes through "grace restart". It ends with the rule, with the daemon, and, where CMD was run by a client that was killed, as if CMD had ended.',
    ],
    args: [src, { name: 'CMD', required: false, isList: true, isAfterDashes: true }],
    options: [
      {
        name: 'timeout',
        value: 'DURATION',
        help: 'after CMD, time for DST to accept again; then clients are let go to fail (default: 30s)',
      },
      {
        name: 'drain',
        value: 'DURATION',
        help: 'time for open connections to end before CMD runs or the command returns (default: 2s)',
      },
      {
        name: 'max-time',
        value: 'DURATION',
        help: 'let clients go after so long in any case (default: no limit)',
      },
      {
        name: 'max-waiting',
        value: 'N',
        help: 'so many wait at most, the next ones in the queue of the listener (default: 10000, or what descriptors allow)',
      },
      json,
    ],
    examples: [
      'grace hold tcp:9000 -- systemctl restart app',
      'grace hold web --timeout 2m -- ./migrate.sh',
      'grace hold web --max-time 5m',
    ],
    asks: {
      request: v.object({
        src: endpointText,
        /** Of a client that runs a command and stays: when it goes, so does its hold. Asked again, it is the same hold. */
        id: v.optional(v.pipe(v.string(), v.minLength(1))),
        maxWaiting: v.pipe(v.number(), v.integer(), v.minValue(1)),
        maxTimeMs: v.optional(milliseconds),
        drainMs: milliseconds,
        /** So long DST gets to accept again when that client has gone without a word. */
        timeoutMs: milliseconds,
      }),
      /** `open`: connections that have not ended. Without an id at once; with one, when the hold is over before the client lets go. */
      answer: v.object({ changed: v.boolean(), maxWaiting: v.number(), open: v.number() }),
      progress: v.object({ held: v.literal(true), open: v.number() }),
    },
  },
  release: {
    aliases: [],
    summary: 'let the clients of a held SRC go on',
    details: [
      'As soon as DST accepts a connection, or when --timeout has passed; they go on in the order in which they came.',
    ],
    args: [src],
    options: [
      {
        name: 'timeout',
        value: 'DURATION',
        help: 'time for DST to accept; then clients are let go to fail (default: 30s)',
      },
      { name: 'now', help: 'at once, whether DST accepts or not' },
      json,
    ],
    examples: ['grace release tcp:9000', 'grace release web --now'],
    asks: {
      request: v.object({
        src: endpointText,
        /** Of the client that held it, with a command. */
        id: v.optional(v.pipe(v.string(), v.minLength(1))),
        timeoutMs: milliseconds,
      }),
      answer: v.object({
        /** False: others hold it still. */
        released: v.boolean(),
        waiting: v.number(),
        /** Why DST does not accept. */
        problem: v.nullable(v.string()),
      }),
      progress: v.never(),
    },
  },
} satisfies Record<string, Definition>;
