/** Commands that make a rule, or send its clients elsewhere. */
import * as v from 'valibot';
import { startOptions } from '../daemon-options.ts';
import { check, endpointText, milliseconds } from '../shapes.ts';
import type { Definition, OptionDefinition } from './definition.ts';
import { dst, json, ofDaemon, src } from './shared-arguments.ts';

const checkHttp = (when: string): OptionDefinition => ({
  name: 'check-http',
  value: 'PATH[=STATUS]',
  help: `${when}a GET of PATH from DST must be answered, with STATUS (200, or 200-299; default: 200-399)`,
});

/** Their definitions, in the order of the help. */
export const ruleCommands = {
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
} satisfies Record<string, Definition>;
