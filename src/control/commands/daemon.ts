/** Commands about the daemon as a process: run, replaced, looked at. */
import * as v from 'valibot';
import { daemonOptions } from '../daemon-options.ts';
import { milliseconds, program, staying, statusResult } from '../shapes.ts';
import type { Definition } from './definition.ts';
import { anySrc, json, ofDaemon } from './shared-arguments.ts';

/** Their definitions, in the order of the help. */
export const daemonCommands = {
  restart: {
    aliases: ['reload'],
    summary: 'replace the daemon by a new process, without losing a connection',
    details: [
      'The new process is started from the executable that this command runs, takes over the listening sockets and the open connections, and serves; what cannot move goes on in the old process until it ends, and how many that are is printed for each reason. If the new one does not come up, the old one goes on as if nothing had happened and the exit code is 1.',
    ],
    args: [],
    options: [
      { name: 'exec', value: 'PATH', help: 'start this executable instead' },
      { name: 'timeout', value: 'DURATION', help: 'time for the new process to come up (default: 10s)' },
      json,
    ],
    examples: ['grace restart', 'grace restart --exec /opt/grace-new/grace'],
    asks: {
      request: v.object({ exec: program, timeoutMs: milliseconds }),
      answer: v.object({
        oldPid: v.number(),
        newPid: v.number(),
        oldVersion: v.string(),
        newVersion: v.string(),
        /** Open connections that moved to the new process, and how many of these have TLS. */
        moved: v.optional(v.number()),
        movedTls: v.optional(v.number()),
        /** Those that finish in an old one, and why: in words, and how many for each reason. */
        draining: v.number(),
        why: v.optional(v.string()),
        staying: v.optional(v.array(staying)),
      }),
      progress: v.never(),
    },
  },
  status: {
    aliases: [],
    summary: 'say whether a daemon runs',
    details: [
      'Exits with 3 when none runs. After a restart it says how many connections moved, how many of these have TLS, and how many stayed with the old process and why.',
    ],
    args: [],
    options: [{ name: 'health', help: 'exit with 1 when a rule cannot be served' }, json],
    examples: ['grace status'],
    asks: {
      request: v.object({}),
      answer: statusResult,
      progress: v.never(),
    },
  },
  logs: {
    aliases: [],
    summary: 'print the log of the daemon',
    details: [
      'Finds it where the daemon writes it: a file, or the journal of its systemd unit. With SRC only the lines about that rule.',
    ],
    args: [anySrc],
    options: [
      { name: 'follow', short: 'f', help: 'go on printing what is added, through rotations' },
      { name: 'lines', short: 'n', value: 'N', help: 'of what is there already, the last N lines' },
      { name: 'since', value: 'TIME', help: 'lines from then on: 10m (ago), or 2026-01-31T12:00' },
    ],
    examples: ['grace logs -f', 'grace logs tcp:8080 -n 20', 'grace logs --since 10m'],
  },
  metrics: {
    aliases: [],
    summary: 'print figures of the daemon for Prometheus',
    details: [
      'In the text format of Prometheus: connections and why they ended, bytes, times to connect, restarts, and more, with those of processes that still finish connections. No counter ever goes back, not at a restart and not at a crash.',
    ],
    args: [],
    options: [],
    examples: ['grace metrics', "grace metrics | grep '^grace_connections'"],
    asks: {
      request: v.object({}),
      answer: v.object({}),
      /** The text in pieces, as it may be long. */
      progress: v.object({ text: v.string() }),
    },
  },
  daemon: {
    aliases: [],
    summary: 'run the daemon in the foreground',
    details: [
      'For init systems and containers. Serves the rules that the state dir holds, and those that are named as SRC=DST; of two with the same SRC, the one that is named here.',
    ],
    args: [{ name: 'SRC=DST...', required: false, isList: true }],
    options: [
      { name: 'no-keeper', help: 'no keeper process; the pid changes with a restart' },
      {
        name: 'log',
        value: 'FILE',
        help: 'where the log goes; - is standard error (default: - in the foreground, grace.log in the state dir in the background)',
      },
      ...ofDaemon(Object.keys(daemonOptions)),
    ],
    examples: ['grace -d /var/lib/grace daemon', 'grace daemon 8080=app:9001 /run/app.sock=app:9002'],
  },
} satisfies Record<string, Definition>;
