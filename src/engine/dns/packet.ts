/** Packets of DNS: a question, and what an answer to it says (RFC 1035). What comes is not to be trusted. */
import { isIPv4, isIPv6 } from 'node:net';
import { decode, encode, RECURSION_DESIRED } from 'dns-packet';
import type { Answer as Record, DecodedPacket } from 'dns-packet';
import { hostProblem } from '../../endpoint/address.ts';

/** What is asked for. */
export type RecordType = 'SRV' | 'A' | 'AAAA';

/** A question, and the number that its answer has to have. */
export type Question = { readonly id: number; readonly name: string; readonly type: RecordType };

/** Where a service is (RFC 2782). Lower priorities first; weight is the share among those of one priority. */
export type SrvRecord = {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  /** Name of a host, without the dot at its end, in lower case; empty: the service is decidedly not there. */
  readonly host: string;
};

/** Addresses of a host. */
export type HostAddresses = { readonly addresses: readonly string[]; readonly ttlS: number };

/** What a server said. `ttlS`: for how many seconds. */
export type Reply =
  /** It has answered. Both are empty when there are no such records, or no such name. */
  | {
      kind: 'answer';
      services: readonly SrvRecord[];
      addresses: readonly string[];
      ttlS: number;
      hasName: boolean;
      /** Addresses that were told beside those asked for, by the names of their hosts. */
      known: ReadonlyMap<string, HostAddresses>;
    }
  /** There is more than a datagram holds: to be asked over TCP. */
  | { kind: 'truncated' }
  /** It cannot or will not answer; its code, such as SERVFAIL. */
  | { kind: 'failed'; code: string };

/** Records of an answer that are looked at. More of them are no service, but an attack. */
const MAX_RECORDS = 256;
/** Names of a chain of aliases. */
const MAX_ALIASES = 16;
/** What there is not is asked for again after so many seconds, if the server does not say when (RFC 2308). */
const ABSENT_TTL_S = 5;

/** The packet of a question, for a server that asks others in turn. */
export function encodeQuestion({ id, name, type }: Question): Uint8Array {
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name, class: 'IN' }] });
}

/** What a packet says to a question; null when it is no answer to it, or cannot be understood. Never throws. */
export function readReply(packet: Uint8Array, question: Question): Reply | null {
  // What was cut off may end in the middle of a record.
  if (isTruncated(packet, question)) return { kind: 'truncated' };
  const reply = decoded(packet);
  if (reply === null || reply.id !== question.id || reply.type !== 'response') return null;
  const [asked, ...others] = reply.questions ?? [];
  if (!asked || others.length > 0) return null;
  if (asked.type !== question.type || asked.class !== 'IN' || plain(asked.name) !== plain(question.name)) return null;
  const { rcode } = reply as unknown as { rcode: string };
  if (rcode !== 'NOERROR' && rcode !== 'NXDOMAIN') return { kind: 'failed', code: rcode };
  const answers = (reply.answers ?? []).slice(0, MAX_RECORDS);
  const { names, ttls } = followAliases(answers, plain(question.name));
  const found = answers.filter((record) => record.type === question.type && names.has(plain(record.name)));
  // A server that does not ask others may say where to ask instead, which is no word about the name.
  if (found.length === 0 && rcode === 'NOERROR' && !reply.flag_aa && !reply.flag_ra)
    return { kind: 'failed', code: 'REFERRAL' };
  const services = found.flatMap(serviceOf);
  const addresses = found.flatMap(addressOf);
  // Records of which none is of use are a mistake of the zone, not an answer to live by.
  if (found.length > 0 && services.length + addresses.length === 0) return { kind: 'failed', code: 'BADRECORDS' };
  return {
    kind: 'answer',
    services,
    addresses,
    hasName: rcode === 'NOERROR',
    ttlS: found.length > 0 ? Math.min(...ttls, ...found.map(ttlOf)) : absentTtl(reply),
    known: addressesIn((reply.additionals ?? []).slice(0, MAX_RECORDS)),
  };
}

/** By the header alone (RFC 1035, section 4.1.1). Who lies here has the server asked over TCP, and no more. */
function isTruncated(packet: Uint8Array, { id }: Question): boolean {
  const [high = 0, low = 0, flags = 0] = packet;
  return packet.length >= 12 && high * 256 + low === id && (flags & 0x82) === 0x82;
}

function decoded(packet: Uint8Array): DecodedPacket | null {
  try {
    return decode(Buffer.from(packet));
  } catch {
    return null; // whoever sent it
  }
}

/** The names that the name asked for is an alias for, itself included, and for how long each is. */
function followAliases(answers: readonly Record[], first: string): { names: Set<string>; ttls: number[] } {
  const names = new Set([first]);
  const ttls: number[] = [];
  for (let name = first; names.size < MAX_ALIASES;) {
    const alias = answers.find((record) => record.type === 'CNAME' && plain(record.name) === name);
    if (alias?.type !== 'CNAME' || names.has(plain(alias.data))) break;
    name = plain(alias.data);
    names.add(name);
    ttls.push(ttlOf(alias));
  }
  return { names, ttls };
}

function serviceOf(record: Record): SrvRecord[] {
  if (record.type !== 'SRV') return [];
  const { priority = 0, weight = 0, port, target } = record.data;
  const host = plain(target);
  if (host !== '' && (hostProblem(host) !== null || port === 0)) return [];
  return [{ priority, weight, port, host }];
}

function addressOf(record: Record): string[] {
  if (record.type === 'A') return isIPv4(record.data) ? [record.data] : [];
  if (record.type === 'AAAA') return isIPv6(record.data) ? [record.data] : [];
  return [];
}

function addressesIn(records: readonly Record[]): Map<string, HostAddresses> {
  const known = new Map<string, HostAddresses>();
  for (const record of records) {
    const addresses = addressOf(record);
    if (addresses.length === 0) continue;
    const host = plain(record.name);
    const before = known.get(host);
    known.set(host, {
      addresses: [...(before?.addresses ?? []), ...addresses],
      ttlS: Math.min(before?.ttlS ?? Infinity, ttlOf(record)),
    });
  }
  return known;
}

/** Seconds; one with its highest bit set is none (RFC 2181, section 8). */
function ttlOf(record: Record): number {
  const ttl = 'ttl' in record ? (record.ttl ?? 0) : 0;
  return ttl >= 2 ** 31 ? 0 : ttl;
}

/** How long there is no such record: the least of what the zone says of that (RFC 2308, section 5). */
function absentTtl({ authorities }: DecodedPacket): number {
  const soa = authorities?.find(({ type }) => type === 'SOA');
  return soa?.type === 'SOA' ? Math.min(ttlOf(soa), soa.data.minimum ?? 0) : ABSENT_TTL_S;
}

/** A name in the one spelling that all its spellings have in common. */
function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}
