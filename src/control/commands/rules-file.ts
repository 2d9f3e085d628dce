/** Commands about all rules as one file. */
import * as v from 'valibot';
import { endpointText, milliseconds } from '../shapes.ts';
import type { Definition } from './definition.ts';
import { json } from './shared-arguments.ts';

/** Their definitions, in the order of the help. */
export const rulesFileCommands = {
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
} satisfies Record<string, Definition>;
