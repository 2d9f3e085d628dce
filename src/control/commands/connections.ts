/** Commands about what is open, rules and their connections: to list it, close it, wait for it, stop it. */
import * as v from 'valibot';
import { destinationRow, endpointText, milliseconds } from '../shapes.ts';
import type { Definition } from './definition.ts';
import { anySrc, json } from './shared-arguments.ts';

/** What `ls --connections` can be sorted by. */
export const connectionOrders = ['age', 'idle', 'in', 'out', 'client'] as const;

/** Their definitions, in the order of the help. */
export const connectionCommands = {
  ls: {
    aliases: ['list'],
    summary: 'list the rules and their connections',
    details: [
      'A line a destination: the current one of each rule is active; an earlier one is inactive and stays listed while it has connections.',
    ],
    args: [anySrc],
    options: [
      {
        name: 'long',
        short: 'l',
        help: 'a line a process too: its pid, bytes in and out, since when, where it listens',
      },
      { name: 'connections', help: 'list the open connections, a line each' },
      {
        name: 'watch',
        short: 'w',
        help: 'look again every second, until Ctrl-C, and show bytes and connections a second',
      },
      {
        name: 'sort',
        value: 'BY',
        choices: connectionOrders,
        help: 'of --connections: by age, idle, in, out or client (default: age, the oldest first)',
      },
      json,
    ],
    examples: ['grace ls', 'grace ls --json', 'grace ls --watch', 'grace ls --connections web --sort idle'],
    asks: {
      request: v.object({ src: v.optional(endpointText), withAccepted: v.optional(v.boolean()) }),
      answer: v.object({
        rows: v.array(destinationRow),
        /** Clients that this process has accepted so far for each destination; only where it was asked for. */
        accepted: v.exactOptional(v.array(v.object({ src: v.string(), dst: v.string(), count: v.number() }))),
      }),
      progress: v.never(),
    },
  },
  close: {
    aliases: [],
    summary: 'close open connections',
    details: [
      'Those of SRC, or those that are named by --id or --client; of these, all that match every option. Both peers see an end. New connections are accepted as before.',
    ],
    args: [anySrc],
    options: [
      { name: 'id', value: 'ID', help: 'this one, of "grace ls --connections"; or several, with commas between' },
      {
        name: 'client',
        value: 'ADDRESS',
        help: 'of this client: 10.0.0.7, 10.0.0.7:4711, 10.0.0.0/8, [::1]:4711, unix',
      },
      { name: 'dst', value: 'DST', help: 'to this destination' },
      { name: 'idle', value: 'DURATION', help: 'on which no byte has moved for so long' },
      json,
    ],
    examples: ['grace close web --dst 9001 --idle 10m', 'grace close --client 10.0.0.7', 'grace close --id dcm2k9x4q1'],
    asks: {
      request: v.object({
        src: v.optional(endpointText),
        dst: v.optional(endpointText),
        client: v.optional(v.string()),
        idleMs: v.optional(milliseconds),
        ids: v.optional(v.array(v.string())),
      }),
      answer: v.object({ closed: v.number(), notes: v.array(v.string()) }),
      progress: v.never(),
    },
  },
  wait: {
    aliases: ['w'],
    summary: 'wait until earlier destinations have no connection left',
    details: [
      'Waits for every earlier destination of SRC, or of every rule without SRC, in the processes that an earlier "grace restart" left draining too. On a terminal it shows what it waits for.',
    ],
    args: [anySrc],
    options: [{ name: 'timeout', value: 'DURATION', help: 'wait at most so long; exit 124 when it passes' }, json],
    examples: ['grace wait', 'grace w tcp:8080 --timeout 5m'],
    asks: {
      request: v.object({
        src: v.optional(endpointText),
        /** Tell of it so often too, with the age of the oldest connection. */
        everyMs: v.optional(v.pipe(milliseconds, v.minValue(100))),
      }),
      answer: v.object({}),
      progress: /** What it still waits for, at the start and whenever that changes. */ v.object({
        waiting: v.array(destinationRow),
        /** Absent where there are too many to look, and from earlier versions. */
        oldestMs: v.exactOptional(v.number()),
      }),
    },
  },
  stop: {
    aliases: ['rm', 'remove', 'delete'],
    summary: 'stop a rule, or the daemon',
    details: [
      'New connections are refused at once; open ones get a time to finish and are then closed. Without SRC the daemon stops; its rules are kept and are served again by the next one.',
    ],
    args: [anySrc],
    options: [
      { name: 'timeout', value: 'DURATION', help: 'time for open connections to finish (default: 30s)' },
      { name: 'now', help: 'close open connections at once, whatever --timeout says' },
      {
        name: 'announce',
        value: 'DURATION',
        help: 'of the daemon: say in the file "ready" that it stops, and serve on for so long',
      },
      json,
    ],
    examples: ['grace stop tcp:8080', 'grace stop --timeout 5m'],
    asks: {
      request: v.object({
        /** Without it the whole daemon, every generation of it; its process ends right after the answer. */
        src: v.optional(endpointText),
        timeoutMs: milliseconds,
        /** Of the whole daemon: so long it serves on after it has said that it stops. */
        announceMs: v.optional(milliseconds),
      }),
      answer: v.object({ closed: v.number(), pids: v.array(v.number()) }),
      progress: v.object({ waiting: v.array(destinationRow) }),
    },
  },
} satisfies Record<string, Definition>;
