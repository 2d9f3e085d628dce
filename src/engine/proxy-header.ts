/**
 * The header of the PROXY protocol, by which whoever forwards tells a destination whom it has to do with: the
 * specification of HAProxy, versions 1 (a line of text) and 2 (binary), haproxy.org/download/3.2/doc/proxy-protocol.txt.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { encodeSockaddr, unmapIPv4 } from '../sys/sockaddr.ts';

/** Which form of the header a destination expects. */
export type ProxyVersion = 'v1' | 'v2';

/** One end of a TCP connection: a numeric address and a port. */
export type ProxyEnd = { host: string; port: number };

/**
 * What the header tells: from where a client came and where it was accepted. `unknown`: it came over a Unix
 * socket. `local`: there is no client, grace itself wants to see how the destination is.
 */
export type ProxySubject = { client: ProxyEnd; accepted: ProxyEnd; tls?: TlsFacts } | 'unknown' | 'local';

/** What a client of TLS that was asked for a certificate has shown of itself. */
export type TlsFacts = {
  /** As in `TLSv1.3`. */
  version: string;
  /** The common name of its certificate, which has been verified; null for a client without one. */
  clientName: string | null;
  /** The session was begun earlier, and with it the certificate shown. */
  isResumed: boolean;
};

/** `\r\n\r\n\0\r\nQUIT\n`, section 2.2. */
const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Version 2 in the high half; the command in the low one. */
const COMMANDS = { local: 0x20, proxy: 0x21 };
/** Family in the high half, a stream in the low one. */
const FAMILIES = { unspecified: 0x00, inet: 0x11, inet6: 0x21 };

/** The bytes that go before all others. */
export function proxyHeader(version: ProxyVersion, subject: ProxySubject): Uint8Array<ArrayBuffer> {
  if (typeof subject === 'string')
    return version === 'v1' ? text(null) : binary(null, { command: subject === 'local' ? 'local' : 'proxy' });
  const ends = oneFamily(subject.client, subject.accepted);
  return version === 'v1' ? text(ends) : binary(ends, { command: 'proxy', tls: subject.tls });
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

function binary(
  ends: Ends | null,
  { command: word, tls }: { command: keyof typeof COMMANDS; tls?: TlsFacts | undefined },
): Uint8Array<ArrayBuffer> {
  const command = COMMANDS[word];
  if (ends === null) return Uint8Array.from([...SIGNATURE, command, FAMILIES.unspecified, 0, 0]);
  const { family, client, accepted } = ends;
  const body = [
    ...addressBytes(family, client),
    ...addressBytes(family, accepted),
    ...portBytes(client),
    ...portBytes(accepted),
    ...(tls === undefined ? [] : tlsBytes(tls)),
  ];
  return Uint8Array.from([...SIGNATURE, command, FAMILIES[family], body.length >> 8, body.length & 255, ...body]);
}

/** PP2_TYPE_SSL of section 2.2.5: which bits say what of the client, a zero for a certificate that was verified, version and name. */
function tlsBytes({ version, clientName, isResumed }: TlsFacts): number[] {
  const hasCertificate = clientName !== null;
  const bits = 0x01 | (hasCertificate ? 0x04 : 0) | (hasCertificate && !isResumed ? 0x02 : 0);
  return typeLengthValue(0x20, [
    bits,
    0,
    0,
    0,
    hasCertificate ? 0 : 1,
    ...typeLengthValue(0x21, new TextEncoder().encode(version)),
    ...(clientName === null ? [] : typeLengthValue(0x22, new TextEncoder().encode(clientName))),
  ]);
}

function typeLengthValue(type: number, value: Iterable<number>): number[] {
  const bytes = [...value];
  return [type, bytes.length >> 8, bytes.length & 255, ...bytes];
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
export function plainHost(host: string): string {
  return unmapIPv4(host.replace(/%.*$/, ''));
}
