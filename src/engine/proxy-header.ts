/**
 * The header of the PROXY protocol, by which whoever forwards tells a destination whom it has to do with: the
 * specification of HAProxy, versions 1 (a line of text) and 2 (binary), haproxy.org/download/3.2/doc/proxy-protocol.txt.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { decodeSockaddr, encodeSockaddr, unmapIPv4 } from '../sys/sockaddr.ts';
import { crc32c } from './crc32c.ts';
import { encodeFields, mergeFields, passedOn, PP2_TYPE_CRC32C, PP2_TYPE_UNIQUE_ID } from './proxy-fields.ts';
import type { ProxyField } from './proxy-fields.ts';

/** Which form of the header a destination expects. */
export type ProxyVersion = 'v1' | 'v2';

/** One end of a TCP connection: a numeric address and a port. */
export type ProxyEnd = { host: string; port: number };

/** What is told of a client beside its address, where that can be told: version 2. Asked for when a header is made. */
type Told = { readonly fields?: () => readonly ProxyField[] };

/**
 * What the header tells: from where a client came and where it was accepted; `block`: the same as version 2 has it, the
 * addresses of the two in network order, then their ports, 12 bytes of IPv4 or 36 of IPv6. `paths`: over a Unix socket at a proxy that
 * spoke for it, in 216 bytes as they came. `client: null` or `unknown`: nobody can say from where. `local`: there is no
 * client, grace itself wants to see how the destination is.
 */
export type ProxySubject =
  | ({ readonly client: ProxyEnd; readonly accepted: ProxyEnd } & Told)
  | ({ readonly block: Uint8Array } & Told)
  | ({ readonly paths: Uint8Array } & Told)
  | ({ readonly client: null } & Told)
  | 'unknown'
  | 'local';

/** What a header of version 2 has beside addresses. */
export type ProxyTlvs = {
  /** What is told of the client. Default true. */
  hasFields?: boolean;
  /** A checksum; it has one without that too where the header had that told of the client. Default false. */
  isSummed?: boolean;
  /** What names the connection, unless what was told of it does. Default nothing. */
  uniqueId?: string | undefined;
};

/** `\r\n\r\n\0\r\nQUIT\n`, section 2.2. */
const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
/** Version 2 in the high half; the command in the low one. */
const COMMANDS = { local: 0x20, proxy: 0x21 };
/** Family in the high half, a stream in the low one, by the bytes that its addresses are. */
const FAMILIES: Readonly<Record<number, number>> = { 0: 0x00, 12: 0x11, 36: 0x21, 216: 0x31 };

/** The bytes that go before all others. */
export function proxyHeader(
  version: ProxyVersion,
  subject: ProxySubject,
  tlvs: ProxyTlvs = {},
): Uint8Array<ArrayBuffer> {
  if (version === 'v1') return text(endsOf(subject));
  if (subject === 'local') return binary({ command: 'local', address: NOTHING, fields: NOTHING });
  const told = typeof subject === 'object' ? (subject.fields?.() ?? []) : [];
  const isSummed = tlvs.hasFields !== false && told.some(({ type }) => type === PP2_TYPE_CRC32C);
  const fields = allFields(told, tlvs);
  return binary({
    command: 'proxy',
    address: addressOf(subject),
    fields: fields.length === 0 ? NOTHING : Uint8Array.from(encodeFields(fields)),
    isSummed: isSummed || tlvs.isSummed === true,
  });
}

const NOTHING = new Uint8Array(0);

/** What version 2 has of addresses; the number of bytes tells of which family they are. */
function addressOf(subject: ProxySubject): Uint8Array {
  if (typeof subject !== 'object') return NOTHING;
  if ('block' in subject) return subject.block;
  if ('paths' in subject) return subject.paths;
  const ends = subject.client === null ? null : oneFamily(subject.client, subject.accepted);
  return ends === null ? NOTHING : Uint8Array.from(endBytes(ends));
}

/** The ends of a client, in one family; null where they are not known. */
export function endsOf(subject: ProxySubject): Ends | null {
  if (typeof subject !== 'object' || 'paths' in subject) return null;
  if (!('block' in subject)) return subject.client === null ? null : oneFamily(subject.client, subject.accepted);
  const { client, accepted } = readEnds(subject.block);
  return oneFamily(client, accepted);
}

function allFields(told: readonly ProxyField[], { hasFields = true, uniqueId }: ProxyTlvs): ProxyField[] {
  const passed = hasFields ? passedOn(told) : [];
  if (uniqueId === undefined) return passed;
  return mergeFields(passed, [{ type: PP2_TYPE_UNIQUE_ID, value: new TextEncoder().encode(uniqueId) }]);
}

type Ends = { family: 'inet' | 'inet6'; client: ProxyEnd; accepted: ProxyEnd };

/** Section 2.1. A check has no word of its own there. */
function text(ends: Ends | null): Uint8Array<ArrayBuffer> {
  if (ends === null) return new TextEncoder().encode('PROXY UNKNOWN\r\n');
  const { family, client, accepted } = ends;
  return new TextEncoder().encode(
    `PROXY ${family === 'inet' ? 'TCP4' : 'TCP6'} ${client.host} ${accepted.host} ${client.port} ${accepted.port}\r\n`,
  );
}

type Binary = {
  command: keyof typeof COMMANDS;
  address: Uint8Array;
  fields: Uint8Array;
  isSummed?: boolean;
};

/** Section 2.2; the checksum, of the header with zeros in its place, comes last. */
function binary({ command, address, fields, isSummed = false }: Binary): Uint8Array<ArrayBuffer> {
  const length = address.length + fields.length + (isSummed ? 7 : 0);
  const header = new Uint8Array(16 + length);
  header.set(SIGNATURE);
  header[12] = COMMANDS[command];
  header[13] = FAMILIES[address.length] ?? 0;
  header[14] = length >> 8;
  header[15] = length & 255;
  header.set(address, 16);
  header.set(fields, 16 + address.length);
  if (!isSummed) return header;
  header.set([PP2_TYPE_CRC32C, 0, 4], header.length - 7);
  new DataView(header.buffer).setUint32(header.length - 4, crc32c(header));
  return header;
}

function endBytes({ family, client, accepted }: Ends): number[] {
  return [
    ...addressBytes(family, client),
    ...addressBytes(family, accepted),
    ...portBytes(client),
    ...portBytes(accepted),
  ];
}

/** The same of a client of whom more is told than was known of it, which goes first. */
export function withFields(subject: ProxySubject, own: () => readonly ProxyField[]): ProxySubject {
  if (subject === 'local') return subject;
  if (subject === 'unknown') return { client: null, fields: own };
  const { fields: told = () => [] } = subject;
  return { ...subject, fields: () => mergeFields(own(), told()) };
}

/** The same of a client of whom something was told but not from where it came: `own` says that. */
export function withOwnEnds(subject: ProxySubject, own: () => ProxySubject): ProxySubject {
  const isLacking = typeof subject === 'object' && 'client' in subject && subject.client === null;
  return isLacking && subject.fields ? withFields(own(), subject.fields) : subject;
}

function addressBytes(family: Ends['family'], { host, port }: ProxyEnd): Uint8Array {
  // struct sockaddr_in has the address at 4, sockaddr_in6 at 8.
  return family === 'inet'
    ? encodeSockaddr({ family, host, port }).subarray(4, 8)
    : encodeSockaddr({ family, host, port }).subarray(8, 24);
}

function portBytes({ port }: ProxyEnd): [high: number, low: number] {
  return [port >> 8, port & 255];
}

/** The header has one family for both: IPv4 if both are, in IPv6's form or their own. Null for what is no address. */
function oneFamily(client: ProxyEnd, accepted: ProxyEnd): Ends | null {
  const [from, to] = [plainHost(client.host), plainHost(accepted.host)];
  const both = (client_: string, accepted_: string) => ({
    client: { host: client_, port: client.port },
    accepted: { host: accepted_, port: accepted.port },
  });
  if (isIPv4(from) && isIPv4(to)) return { family: 'inet', ...both(from, to) };
  const [from6, to6] = [from, to].map((host) => (isIPv4(host) ? `::ffff:${host}` : host)) as [string, string];
  return isIPv6(from6) && isIPv6(to6) ? { family: 'inet6', ...both(from6, to6) } : null;
}

/** Without a zone, which means nothing elsewhere, and an IPv4 address as such. */
function plainHost(host: string): string {
  return unmapIPv4(host.replace(/%.*$/, ''));
}

/** The ends that addresses as version 2 has them tell of. */
export function readEnds(block: Uint8Array): { client: ProxyEnd; accepted: ProxyEnd } {
  const size = block.length === 12 ? 4 : 16;
  const portAt = (at: number) => (block[at]! << 8) | block[at + 1]!;
  return {
    client: { host: hostAt(block, 0, size), port: portAt(2 * size) },
    accepted: { host: hostAt(block, size, size), port: portAt(2 * size + 2) },
  };
}

function hostAt(block: Uint8Array, at: number, size: number): string {
  if (size === 4) return `${block[at]}.${block[at + 1]}.${block[at + 2]}.${block[at + 3]}`;
  const sockaddr = encodeSockaddr({ family: 'inet6', host: '::', port: 0 });
  sockaddr.set(block.subarray(at, at + size), 8);
  const decoded = decodeSockaddr(sockaddr, sockaddr.length);
  return decoded.family === 'inet6' ? decoded.host : '::';
}
