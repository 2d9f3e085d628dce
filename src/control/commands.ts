/**
 * Every command as one definition: the command line as data, from which parsing, help, completions and the manual
 * are made, and for a command that asks the daemon what goes over the control socket. What the client does is in
 * cli/commands/NAME.ts, what the daemon answers in daemon/requests/commands.ts.
 */
import * as v from 'valibot';
import { daemonOptions, startOptions } from './daemon-options.ts';
import type { DaemonOption } from './daemon-options.ts';
import { check, destinationRow, endpointText, program, milliseconds, staying, statusResult } from './shapes.ts';

/** An option of a command. */
export type OptionDefinition = {
  /** Long name without dashes, as typed: `no-check`. */
  name: string;
  /** Its letter, `d` for `-d`. */
  short?: string;
  /** What its value is called in help; an option without one is a switch. */
  value?: string;
  /** The only words its value can be. */
  choices?: readonly string[];
  help: string;
};

/** A word after the command's name. */
export type ArgumentDefinition = {
  /** As shown in help. */
  name: string;
  required: boolean;
  /** Any number of them; the last argument. */
  isList?: true;
  /** A command line of its own, which `--` separates from ours. */
  isAfterDashes?: true;
  /** The only words it can be. */
  choices?: readonly string[];
};

/** What help, completions, the manual page and the parser know of a command. */
type Definition = {
  aliases: readonly string[];
  /** What it does, in one line that fits beside the name. */
  summary: string;
  /** What else a user should know, a paragraph each. */
  details: readonly string[];
  args: readonly ArgumentDefinition[];
  options: readonly OptionDefinition[];
  examples: readonly string[];
  /** What it asks the daemon, what that answers, and what it may tell before. */
  asks?: Conversation;
};

/** What is said over the control socket for one request, as schemas. What an earlier version does not say is optional. */
export type Conversation = { request: v.GenericSchema; answer: v.GenericSchema; progress: v.GenericSchema };

/** Options that stand before or after any command. */
export const globalOptions: readonly OptionDefinition[] = [
  { name: 'dir', short: 'd', value: 'DIR', help: 'state dir (default: GRACE_DIR, then ~/.grace)' },
  { name: 'help', short: 'h', help: 'show help, of a command if one is given' },
  { name: 'version', short: 'V', help: 'show the version' },
];

/** An init system, or a part of one, that `grace unit` has a file for. */
export const unitKinds = ['systemd', 'socket', 'sysv', 'openrc', 'runit', 'supervisord', 'logrotate'] as const;

const json: OptionDefinition = { name: 'json', help: 'print JSON' };
/** Wherever it stands for a rule that there is, its name does too. */
const src: ArgumentDefinition = { name: 'SRC', required: true };
const dst: ArgumentDefinition = { name: 'DST', required: true };
const anySrc: ArgumentDefinition = { name: 'SRC', required: false };

const checkHttp = (when: string): OptionDefinition => ({
  name: 'check-http',
  value: 'PATH[=STATUS]',
  help: `${when}a GET of PATH from DST must be answered, with STATUS (200, or 200-299; default: 200-399)`,
});

/** Options that hold for a daemon, from their table. */
function ofDaemon(names: readonly string[], when = ''): OptionDefinition[] {
  const rows: Record<string, DaemonOption<unknown>> = daemonOptions;
  return names.map((name) => {
    const { value, choices, help } = rows[name]!;
    return { name, value, ...(choices && { choices }), help: `${when}${help}` };
  });
}

/** What `ls --connections` can be sorted by. */
export const connectionOrders = ['age', 'idle', 'in', 'out', 'client'] as const;

/** Every command, in the order of the help. */
const table = {
  start: {
    aliases: ['add'],
    summary: 'forward SRC to DST',
    details: [
      'SRC says where to listen, DST where to connect. Starts the daemon in the background when none runs in the state dir, and returns when SRC is listening.',
      'The same rule again changes nothing. A SRC that is forwarded elsewhere is an error: use "grace switch", or --switch, which changes parameters of SRC without giving up the socket.',
    ],
    args: [src, dst],
    options: [
      { name: 'name', value: 'NAME', help: 'a name for the rule, to be used in place of SRC by other commands' },
      {
        name: 'switch',
        help: 'if SRC is forwarded already, switch it to DST, and change its parameters to those given',
      },
      { name: 'no-check', help: 'do not try DST first (with --switch)' },
      checkHttp('before anything changes, '),
      ...ofDaemon(startOptions, 'of a daemon that is started for it: '),
      json,
    ],
    examples: [
      'grace start 8080 9001',
      'grace start --name web tcp:8080 tcp:127.0.0.1:9001',
      'grace start unix:/run/app.sock tcp:[::1]:9001',
    ],
    asks: {
      request: v.object({
        src: endpointText,
        dst: endpointText,
        startedForIt: v.optional(v.boolean()),
        /** A source that is forwarded already gets the destination and the parameters that are given, if DST passes the check. */
        switch: v.optional(v.boolean()),
        /** One of HTTP is for a new rule too. */
        check: v.optional(check),
      }),
      answer: v.object({
        changed: v.boolean(),
        notes: v.array(v.string()),
        /** That the destination does not accept now: for a person at a terminal, and in JSON. */
        ofDestination: v.optional(v.array(v.string())),
      }),
      progress: v.never(),
    },
  },
  switch: {
    aliases: ['x'],
    summary: 'send new connections of SRC to another DST',
    details: [
      'Connections that are open stay where they are. DST must accept a connection first; if it does not, nothing changes and the exit code is 5.',
      'An accepted connection is not yet a healthy application: with --check-http it must also answer, by HTTP/1.1 over a connection like those to come, within 10s or what --timeout says (with --wait 10s at most).',
      'With --rollback-if-fails the switch is for good only after that time. When a new connection is refused, times out, or ends without a byte for a client that had sent some, new connections go where they went before; the command says why. Open connections are not touched by either.',
      'With --drain 10m the connections that earlier destinations still have are closed over that time, those that have been idle longest first, so that clients do not all come back at once. The command returns at once, or with --wait when all are gone.',
      'With --percent 10 a tenth of the addresses of clients go to DST, and always the same; over a Unix socket a tenth of the connections. Later --percent 50 is half of them, --percent 100 or a plain switch all, --percent 0 none.',
    ],
    args: [src, dst],
    options: [
      { name: 'no-check', help: 'do not try DST first' },
      checkHttp('first, '),
      {
        name: 'rollback-if-fails',
        value: 'DURATION',
        help: 'watch new connections for so long, and if one fails send them where they went before; exit 5',
      },
      {
        name: 'percent',
        value: 'N',
        help: 'send this share of new connections to DST, the rest to the destination so far; 0 undoes it, 100 completes it',
      },
      {
        name: 'drain',
        value: 'DURATION',
        help: 'then close what is left on earlier destinations of SRC, evenly over so long, idle ones first',
      },
      { name: 'wait', help: 'then wait until the earlier destinations of SRC have no connection left' },
      {
        name: 'timeout',
        value: 'DURATION',
        help: 'wait at most so long; exit 124 when it passes (with --wait); without --wait, for the answer of --check-http',
      },
      json,
    ],
    examples: [
      'grace switch tcp:8080 tcp:127.0.0.1:9002',
      'grace x tcp:8080 tcp:127.0.0.1:9002 --wait',
      'grace switch web 9002 --check-http /up=200 --wait --timeout 5m',
      'grace switch tcp:8080 tcp:127.0.0.1:9002 --percent 10',
      'grace x web 9002 --rollback-if-fails 10s --wait && systemctl stop web-1',
    ],
    asks: {
      request: v.object({
        src: endpointText,
        dst: endpointText,
        check,
        /** Answer after so long, or when new connections to the destination have failed and the switch was undone. */
        rollbackMs: v.optional(milliseconds),
        /** Then close what is left on earlier destinations, evenly over so long. */
        drainMs: v.optional(milliseconds),
        /** How much of the new connections; all when it is not said. */
        percent: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
      }),
      answer: v.object({
        changed: v.boolean(),
        notes: v.array(v.string()),
        /** With `drainMs`: how many connections that concerns. */
        draining: v.exactOptional(v.number()),
      }),
      progress: v.never(),
    },
  },
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
  apply: {
    aliases: [],
    summary: 'bring about the rules of a file',
    details: [
      'FILE is YAML, as "grace export" prints it; - is standard input. What is missing is started, what is different is switched or changed on the socket that it has, what is not in the file is stopped; what is there already is not touched. Everything is checked before anything changes.',
      'A rule that gets another DST is switched only when that accepts a connection.',
      'In place of FILE there may be a key in etcd: etcd://HOST[:2379][,HOST...]/KEY, etcds:// with TLS (?cacert=FILE&cert=FILE&key=FILE). Its value is such a file. Keys below KEY/destinations/NAME/ are destinations of the rule NAME, of which the oldest is used; under a lease they come and go with it. While etcd cannot be asked, the rules stay as they are.',
    ],
    args: [{ name: 'FILE', required: true }],
    options: [
      { name: 'dry-run', help: 'only print what would be done' },
      { name: 'watch', help: 'stay, and do it again whenever the file changes, or the key in etcd' },
      { name: 'no-check', help: 'do not try a new DST first' },
      { name: 'report', help: 'write to etcd, below KEY/reports/, which rules this machine has' },
      {
        name: 'timeout',
        value: 'DURATION',
        help: 'time for open connections of rules that are stopped to finish (default: 30s)',
      },
      json,
    ],
    examples: [
      'grace apply /etc/grace/rules.yaml',
      'grace export | grace apply -',
      'grace apply --watch --report etcd://127.0.0.1:2379/grace/rules',
    ],
    asks: {
      /** Changes of one kind, made in order up to the first that fails, and stored with one write. */
      request: v.object({
        verb: v.picklist(['start', 'switch', 'stop']),
        /** `dst`: but for those that are stopped. */
        rules: v.array(v.object({ src: endpointText, dst: v.optional(endpointText) })),
        /** Of `switch`: a new destination must accept. */
        check: v.boolean(),
        /** For the connections of rules that are stopped. */
        timeoutMs: milliseconds,
      }),
      /** When the connections of rules that were stopped have ended. */
      answer: v.object({ closed: v.number() }),
      /** So many changes, the first ones, are in force. Why the one after them is not comes as the error. */
      progress: v.object({ made: v.number(), notes: v.array(v.string()) }),
    },
  },
  export: {
    aliases: [],
    summary: 'print the rules as a file for apply',
    details: [],
    args: [],
    options: [],
    examples: ['grace export > rules.yaml'],
    asks: {
      request: v.object({}),
      /** The stored rules, those that cannot be served at the moment among them. */
      answer: v.object({ rules: v.array(v.object({ src: endpointText, dst: endpointText })) }),
      progress: v.never(),
    },
  },
  schema: {
    aliases: [],
    summary: 'print the JSON schema of the file for apply',
    details: [],
    args: [],
    options: [],
    examples: ['grace schema > grace.schema.json'],
  },
  endpoint: {
    aliases: [],
    summary: 'say what an endpoint string means',
    details: [
      'Checks the files that it names too. Exits with 2 for a bad one and shows the place. Put -- before a string that begins with a dash.',
    ],
    args: [
      { name: 'server|client', required: true, choices: ['server', 'client'] },
      { name: 'STRING', required: true },
    ],
    options: [json],
    examples: [
      'grace endpoint server tcp:8080:interface=127.0.0.1',
      'grace endpoint client tls:example.com:443 --json',
    ],
  },
  demo: {
    aliases: [],
    summary: 'run the demo server of the library',
    details: [
      'Listens on ports 48567, 48568 and 48569 and answers /sleep/?duration=20s. SIGUSR2 restarts it, SIGTERM ends it, both after the requests in flight.',
    ],
    args: [],
    options: [
      { name: 'addresses', value: 'LIST', help: 'addresses, with commas between (default: :48567,:48568,:48569)' },
      {
        name: 'tls-addresses',
        value: 'LIST',
        help: 'addresses that speak TLS, with a certificate made at the start (default: none)',
      },
    ],
    examples: ['grace demo', 'grace demo --addresses 127.0.0.1:8080 --tls-addresses 127.0.0.1:8443'],
  },
  upgrade: {
    aliases: [],
    summary: 'replace grace by the newest version, or another, without losing a connection',
    details: [
      'Downloads the executable, verifies checksum and signature, puts it in the place of this one in one step, and restarts the daemon as "grace restart" does. If the new one does not come up, the old executable is put back and the old daemon goes on: it never stopped.',
      'Only a release that is signed with a key that this grace trusts is taken: one from the build, or that of --key.',
    ],
    args: [],
    options: [
      { name: 'to', value: 'VERSION', help: 'this version, which may be an older one (default: the newest)' },
      {
        name: 'from',
        value: 'URL',
        help: 'where releases are (default: GRACE_RELEASE_URL, then what the build names)',
      },
      { name: 'key', value: 'FILE', help: 'trust this Ed25519 public key (PEM) and no other' },
      { name: 'check', help: 'only tell which version is there; exit code 100 when it is a newer one' },
      { name: 'timeout', value: 'DURATION', help: 'time for the new daemon to come up (default: 10s)' },
      json,
    ],
    examples: ['grace upgrade', 'grace upgrade --check', 'grace upgrade --to 0.1.0'],
  },
  unit: {
    aliases: [],
    summary: 'print the file that an init system starts grace by',
    details: [
      'With the path of this executable and the state dir in: that of -d or GRACE_DIR, or else /var/lib/grace. Its first lines say where to put it.',
    ],
    args: [{ name: 'KIND', required: true, choices: unitKinds }],
    options: [{ name: 'socket-group', value: 'GROUP', help: 'let the members of this group command the daemon' }],
    examples: [
      'grace unit systemd > /etc/systemd/system/grace.service',
      'grace -d /var/lib/edge unit openrc > /etc/init.d/grace',
    ],
  },
  completion: {
    aliases: [],
    summary: 'print completions for a shell',
    details: ['They complete commands, options, files, and the SRC of the rules that are served.'],
    args: [{ name: 'SHELL', required: true, choices: ['bash', 'zsh', 'fish'] }],
    options: [],
    examples: ['eval "$(grace completion bash)"', 'grace completion fish > ~/.config/fish/completions/grace.fish'],
  },
  man: {
    aliases: [],
    summary: 'print the manual page',
    details: [],
    args: [],
    options: [],
    examples: ['grace man | man -l -'],
  },
  help: {
    aliases: [],
    summary: 'show help, of a command, or of endpoints',
    details: [],
    args: [{ name: 'COMMAND', required: false }],
    options: [],
    examples: ['grace help start'],
  },
} satisfies Record<string, Definition>;

/** Every command by its full name. */
export type CommandName = keyof typeof table;

/** What help, completions, the manual page and the parser know of a command. */
export type CommandDefinition = Definition & { name: CommandName };

/** Every command, in the order of the help. */
export const commands: readonly CommandDefinition[] = Object.entries(table).map(([name, definition]) => ({
  name: name as CommandName,
  ...definition,
}));

type Asking = {
  [N in CommandName as (typeof table)[N] extends { asks: Conversation } ? N : never]: (typeof table)[N] extends {
    asks: infer A extends Conversation;
  }
    ? A
    : never;
};

/** What goes over the control socket for the commands that ask the daemon, by their names. */
export const conversationsOfCommands = Object.fromEntries(
  commands.flatMap(({ name, asks }) => (asks ? [[name, asks]] : [])),
) as Asking;

/** The command that goes by a name or an alias. */
export function findCommand(name: string): CommandDefinition | undefined {
  return commands.find((command) => command.name === name || command.aliases.includes(name));
}
