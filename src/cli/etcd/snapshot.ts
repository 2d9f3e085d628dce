/** What etcd has of the rules: the key itself, and the keys of destinations below it. */
import * as v from 'valibot';
import { GraceError } from '../../error.ts';
import type { EtcdAddress } from './address.ts';
import { EtcdRefusal, notEtcdError } from './failure.ts';
import type { Gateway } from './gateway.ts';

/** Destinations are these keys below that of the rules, `NAME/…`. */
export const destinationsBelow = '/destinations/';

/** Most destinations that are taken. */
const maxDestinations = 10_000;

/** Longest value of the rules, and of a destination, in bytes. */
const maxLength = { rules: 1024 * 1024, destination: 4096 };

/** What there is at one revision. */
export type Snapshot = {
  /** That of etcd. */
  revision: number;
  /** How the key of the rules is called. */
  key: string;
  /** The value; null: there is no such key. */
  value: Buffer | null;
  /** The oldest first, the same on every machine. */
  destinations: readonly RegisteredDestination[];
  /** Differs when any of it has changed. */
  fingerprint: string;
};

/** A key under `KEY/destinations/`. */
export type RegisteredDestination = { key: string; name: string; value: Buffer };

const whole = v.pipe(
  v.union([v.string(), v.number()]),
  v.transform(Number),
  v.check((value) => Number.isSafeInteger(value)),
);
const keyValue = v.object({
  key: v.string(),
  value: v.optional(v.string(), ''),
  create_revision: v.optional(whole, 0),
  mod_revision: v.optional(whole, 0),
});
const rangeAnswer = v.object({
  header: v.object({ revision: v.optional(whole, 0) }),
  kvs: v.optional(v.array(keyValue), []),
  more: v.optional(v.boolean(), false),
});
type KeyValue = v.InferOutput<typeof keyValue>;

/** Read it all; `keysOnly`: without the values, for its fingerprint. Rejects with GraceError. */
export async function readSnapshot(
  gateway: Gateway,
  { keys }: EtcdAddress,
  { keysOnly = false }: { keysOnly?: boolean } = {},
): Promise<Snapshot> {
  let denied: unknown;
  let empty: Snapshot | undefined;
  for (const key of keys) {
    try {
      const snapshot = await readBelow(gateway, key, keysOnly);
      if (snapshot.value !== null) return snapshot;
      empty ??= snapshot;
    } catch (error) {
      // A user may have rights to the one of them that is used.
      if (!(error instanceof EtcdRefusal && error.isDenied)) throw error;
      denied ??= error;
    }
  }
  if (!empty) throw denied;
  return empty;
}

async function readBelow(gateway: Gateway, key: string, keysOnly: boolean): Promise<Snapshot> {
  const { header, kvs: rules } = await range(gateway, { key: base64(key), keys_only: keysOnly });
  const { revision } = header;
  const { kvs, more } = await range(gateway, {
    ...below(`${key}${destinationsBelow}`),
    revision: String(revision), // as of the same moment
    limit: String(maxDestinations),
    keys_only: keysOnly,
  });
  if (more) throw new GraceError(`there are more than ${maxDestinations} keys below ${key}${destinationsBelow}`);
  const [rule] = rules;
  const stampOf = (each: KeyValue) => [each.key, each.mod_revision];
  return {
    revision,
    key,
    value: rule ? Buffer.from(rule.value, 'base64') : null,
    destinations: kvs.toSorted(byAge).map((each) => destinationOf(each, `${key}${destinationsBelow}`)),
    fingerprint: JSON.stringify([key, rules.map(stampOf), kvs.map(stampOf)]),
  };
}

/** By what every machine sees alike: when a key was made, and of those made at once, the key. */
function byAge(a: KeyValue, b: KeyValue): number {
  return a.create_revision - b.create_revision || Buffer.compare(bytesOf(a.key), bytesOf(b.key));
}

function destinationOf({ key, value }: KeyValue, prefix: string): RegisteredDestination {
  const text = bytesOf(key).toString('utf8');
  const below = text.slice(prefix.length);
  return { key: text, name: below.split('/', 1)[0]!, value: bytesOf(value) };
}

/** The text of a value. Throws GraceError when it is too long or no text. */
export function textOf(value: Buffer, { key, kind }: { key: string; kind: keyof typeof maxLength }): string {
  const wrong = (what: string) => new GraceError(`the value of ${key} ${what}`, { code: 'ERR_GRACE_USAGE' });
  if (value.length > maxLength[kind]) throw wrong(`has ${value.length} bytes, more than ${maxLength[kind]}`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(value);
  } catch {
    throw wrong('is not UTF-8');
  }
}

async function range(gateway: Gateway, question: object): Promise<v.InferOutput<typeof rangeAnswer>> {
  const parsed = v.safeParse(rangeAnswer, await gateway.ask('/v3/kv/range', question));
  if (!parsed.success) throw notEtcdError(gateway.member, 'its answer is of another form');
  return parsed.output;
}

/** All keys that begin so, as etcd has ranges: up to the first that does not. */
export function below(prefix: string): { key: string; range_end: string } {
  const end = Buffer.from(prefix);
  end[end.length - 1]!++; // it ends with a slash
  return { key: base64(prefix), range_end: end.toString('base64') };
}

/** As the gateway takes keys and values. */
export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'base64');
}
