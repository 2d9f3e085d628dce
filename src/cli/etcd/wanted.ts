/** Which rules follow from what etcd has. */
import { createHash } from 'node:crypto';
import type { EndpointText } from '../../control/shapes.ts';
import { quoted } from '../../endpoint/error.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { bounded } from '../../one-line.ts';
import { readCheckedDestination, readRulesFile } from '../rules-file.ts';
import type { FileRule, ReadOptions } from '../rules-file.ts';
import type { EtcdAddress } from './address.ts';
import { destinationsBelow, textOf } from './snapshot.ts';
import type { RegisteredDestination, Snapshot } from './snapshot.ts';

/** What is to be in force. */
export type Wanted = {
  rules: FileRule[];
  /** Equal on all machines that want the same: SHA-256 of the value, and of the registered destinations that are used. */
  hash: string;
  /** What cannot be done, though the rest can; a sentence each. */
  remarks: string[];
  /** What is done without, and may be meant otherwise; a sentence each. */
  asides: string[];
};

type WantedOptions = Pick<ReadOptions, 'cwd' | 'env'> & {
  /** The rules of the daemon: where no destination is registered, the last one stays. */
  present: readonly FileRule[];
  address: EtcdAddress;
};

/** All remarks as one, of bounded length; undefined where there are none. */
export function problemOf(remarks: readonly string[]): string | undefined {
  return remarks.length === 0 ? undefined : bounded(remarks.join('; '));
}

/** Throws GraceError where the rules are none. */
export function wantedBy(snapshot: Snapshot, { present, address, cwd, env }: WantedOptions): Wanted {
  const { value, key, destinations } = snapshot;
  if (value === null)
    throw new GraceError(`there is no key ${address.keys[0]} in etcd`, {
      hint: `put one: etcdctl put ${address.keys[0]} < rules.yaml`,
    });
  const remarks: string[] = [];
  const registered = firstOfEach(destinations, { cwd, remarks });
  const names = new Set<string>();
  const used = new Map<string, string>();
  const rules = readRulesFile(textOf(value, { key, kind: 'rules' }), {
    file: key,
    cwd,
    env,
    elsewhere({ name, hasOwn, listenKey }) {
      if (name === undefined) return undefined;
      names.add(name);
      const chosen = registered.get(name);
      if (chosen) used.set(name, chosen.typed);
      if (chosen || hasOwn) return chosen;
      const last = present.find((rule) => rule.listenKey === listenKey);
      remarks.push(
        `no destination is registered below ${key}${destinationsBelow}${name}/, and ${name} has no dst: ${last ? `it stays with ${last.dst.typed}` : 'it is not started'}`,
      );
      return last?.dst;
    },
  });
  const asides = unusedOf(destinations, { key, names });
  const hash = createHash('sha256').update(value);
  for (const each of [...used].toSorted(([a], [b]) => (a < b ? -1 : 1))) hash.update(`\0${each.join('\0')}`);
  return { rules, hash: hash.digest('hex'), remarks, asides };
}

/** Most of them that are told. */
const maxAsides = 10;

/** Keys that no rule asks for: of a name that was mistyped, or of no name. */
function unusedOf(
  destinations: readonly RegisteredDestination[],
  { key, names }: { key: string; names: ReadonlySet<string> },
): string[] {
  const prefix = `${key}${destinationsBelow}`;
  const unused = destinations
    .filter(({ name }) => !names.has(name))
    .map(
      (each) =>
        `${each.key} is passed over: ${each.key.startsWith(`${prefix}${each.name}/`) ? '' : `a destination is ${prefix}NAME/…, and `}no rule has the name ${quoted(each.name)}`,
    );
  const left = unused.length - maxAsides;
  return left <= 0 ? unused : [...unused.slice(0, maxAsides), `${left} more keys of destinations are passed over`];
}

/** The oldest usable one of each rule. */
function firstOfEach(
  destinations: readonly RegisteredDestination[],
  { cwd, remarks }: { cwd: string; remarks: string[] },
): Map<string, EndpointText> {
  const first = new Map<string, EndpointText>();
  for (const { key, name, value } of destinations) {
    try {
      const text = textOf(value, { key, kind: 'destination' }).trim();
      const destination = readCheckedDestination(text, cwd);
      if (!first.has(name)) first.set(name, destination);
    } catch (error) {
      if (remarks.length < 10) remarks.push(`${key} is passed over: ${errorMessage(error)}`);
    }
  }
  return first;
}
