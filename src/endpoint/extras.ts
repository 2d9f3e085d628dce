/** grace's own parameters, beyond Twisted's. All are given by name only, and are properties only when they are given. */
import { printDuration } from './duration.ts';
import { optional } from './parameter.ts';
import type { ValuesOf } from './parameter.ts';
import { formatRate } from './rate.ts';
import type { Rate } from './rate.ts';
import { formatBytes } from './size.ts';
import { ciphers, groups, passphrase } from './tls-values.ts';
import {
  alpn,
  choice,
  count,
  duration,
  host,
  keepalive,
  networkList,
  networks,
  path,
  proxyTlv,
  rate,
  yes,
  bufferSize,
} from './values.ts';

/** What a type without TLS answers to a parameter of those that have it. */
export const needsTls = 'it is an argument of the types that speak TLS, ssl and tls';

const list = (names: readonly string[]) => names.join(',');

/** On every server endpoint that accepts connections. */
export const serverExtras = {
  /** Most connections open at once on this listener; further clients wait in the backlog. */
  maxconn: optional({
    read: count,
    meaning: 'connections at once; further clients wait',
    placeholder: 'NUMBER',
    note: 'connections at once',
  }),
  /** Most connections open at once from one address; one more is refused. */
  maxconnPer: optional({
    read: count,
    meaning: 'connections at once from one address; further ones are reset',
    placeholder: 'NUMBER',
    note: 'connections at once from one address',
  }),
  /** Most new connections from one address in a time; one more is refused. */
  ratePer: optional({
    read: rate,
    write: formatRate,
    meaning: ({ burst }: Rate) => `new connections from one address, ${burst} at once; further ones are reset`,
    placeholder: 'RATE',
    note: 'new connections from one address, 50/s',
  }),
  /** Addresses, networks and files of them (`@FILE`) from where clients may come; any other is refused. Colons of IPv6 are escaped. */
  allow: optional({
    read: networkList,
    write: list,
    hasFiles: true,
    meaning: 'from where clients may come; any other is reset',
    placeholder: 'CIDR',
    note: 'or @FILE',
  }),
  /** The same for those who may not, whatever `allow` says. */
  deny: optional({
    read: networkList,
    write: list,
    hasFiles: true,
    meaning: 'from where clients may not come: they are reset',
    placeholder: 'CIDR',
    note: 'or @FILE',
  }),
  /** Close a connection on which no byte moved for so many milliseconds. */
  idle: optional({
    read: duration,
    write: printDuration,
    meaning: 'a connection without traffic for so long is closed',
    placeholder: 'DURATION',
    note: 'then a silent connection is closed',
  }),
  /** Close a connection that has lasted for so many milliseconds, give or take a tenth. */
  lifetime: optional({
    read: duration,
    write: printDuration,
    meaning: 'a connection that has lasted so long is closed (give or take a tenth)',
    placeholder: 'DURATION',
    note: 'then a connection is closed',
  }),
  /** Most bytes kept of a connection, each way, while a peer does not read. */
  buffer: optional({
    read: bufferSize,
    write: formatBytes,
    meaning: 'bytes kept of a connection, each way, while a peer does not read',
    placeholder: 'SIZE',
    note: 'bytes kept each way for a peer that does not read',
  }),
  /** Expect a PROXY protocol header from the client (same as the `haproxy:` wrapper). */
  proxy: optional({
    read: choice('accept'),
    meaning: 'each connection opens with a PROXY protocol header',
    placeholder: 'accept',
  }),
  /** Addresses and networks from where such a header is taken; any other client is refused. Colons of IPv6 are escaped. */
  proxyFrom: optional({ read: networks, write: list, meaning: 'who may send a PROXY header', placeholder: 'CIDR' }),
  /** Longest that a client may take over its PROXY header, and over a ClientHello by which its destination is chosen, in milliseconds. */
  headerTimeout: optional({
    read: duration,
    write: printDuration,
    meaning: 'longest that the PROXY header may take, or a ClientHello that is to be passed on by name',
    placeholder: 'DURATION',
  }),
};

/** On every endpoint that speaks TLS. */
const tlsExtras = {
  /** Where the pass phrase of the private keys is: `env:NAME`, `file:PATH`. */
  passphrase: optional({
    read: passphrase,
    pathAfter: 'file:',
    meaning: (where: string) =>
      where.startsWith('env:')
        ? "variable of the daemon's environment with the pass phrase of the key"
        : 'file with the pass phrase of the key',
    placeholder: 'env\\:NAME',
  }),
  /** A peer that ends without close_notify is reset instead of ended, for its data may have been cut short. */
  truncation: optional({
    read: choice('reset'),
    meaning: 'a peer that ends TLS without saying so (close_notify) makes a reset',
    placeholder: 'reset',
  }),
};

/** On server endpoints that listen on an address of the network. */
export const serverAddressExtras = {
  /** Listen on an address that the machine does not have yet, as the standby of a pair does. */
  freebind: optional({
    read: yes,
    write: () => 'yes',
    meaning: 'the machine need not have the address',
    placeholder: 'yes',
  }),
};

/** Of either side. */
const userTimeout = optional({
  read: duration,
  write: printDuration,
  meaning: 'a connection whose bytes are not acknowledged for so long is cut',
  placeholder: 'DURATION',
  note: 'then a peer that acknowledges nothing is given up',
});

/** On server endpoints whose clients come over TCP. */
export const serverTcpExtras = {
  /** Cut a connection of a client that acknowledges nothing for so many milliseconds (TCP_USER_TIMEOUT, RFC 5482; Linux). */
  userTimeout,
};

/** On server endpoints that terminate TLS. */
export const serverTlsExtras = {
  /** ALPN protocol names, most preferred first. */
  alpn: optional({ read: alpn, write: list, meaning: 'protocols to agree on, preferred first', placeholder: 'LIST' }),
  /** PEM file of certificate authorities; clients must present a certificate signed by one. */
  clientCA: optional({
    read: path,
    isPath: true,
    meaning: (_: string, { clientAuth }) =>
      clientAuth === 'optional'
        ? 'clients may have a certificate, of one of these authorities'
        : 'clients must have a certificate of one of these authorities',
    placeholder: 'FILE',
  }),
  /** Whether clients must have a certificate of `clientCA`; one of another authority is refused either way. */
  clientAuth: optional({
    read: choice('required', 'optional'),
    meaning: (mode: 'required' | 'optional') =>
      mode === 'optional'
        ? 'a client without a certificate is served, one with a bad certificate refused'
        : 'a client without a certificate is refused',
    placeholder: 'optional',
  }),
  /** Lowest version of TLS. */
  minTLS: optional({
    read: choice('1.2', '1.3'),
    meaning: (version: '1.2' | '1.3') => (version === '1.3' ? 'TLS 1.3 and no other version' : 'TLS 1.2 or later'),
    placeholder: '1.3',
  }),
  /** Cipher suites, as OpenSSL names them. */
  ciphers: optional({ read: ciphers, write: list, meaning: 'cipher suites to offer', placeholder: 'LIST' }),
  /** Groups for the key exchange, as OpenSSL names them, most preferred first. */
  groups: optional({
    read: groups,
    write: list,
    meaning: 'groups for the key exchange, preferred first',
    placeholder: 'LIST',
  }),
  /** File of the keys that seal session tickets: 80 bytes each, the newest first, as nginx and HAProxy have them. */
  ticketKeys: optional({
    read: path,
    isPath: true,
    meaning: 'file of the keys of session tickets, which other servers may share',
    placeholder: 'FILE',
  }),
  /** Longest handshake of a client, in milliseconds. */
  handshakeTimeout: optional({
    read: duration,
    write: printDuration,
    meaning: 'longest that the TLS handshake may take',
    placeholder: 'DURATION',
  }),
  ...tlsExtras,
};

/** On server endpoints that terminate TLS and are not about names anyway. */
export const serverNameExtras = {
  /** Directory of further certificates, chosen by the name that the client sends. */
  sni: optional({
    read: path,
    isPath: true,
    meaning: 'directory of certificates for other names',
    placeholder: 'DIRECTORY',
  }),
};

/** On every client endpoint. */
export const clientExtras = {
  /** Keep trying a refused connect for so many milliseconds. */
  retry: optional({
    read: duration,
    write: printDuration,
    meaning: 'a refused connect is tried again for so long',
    placeholder: 'DURATION',
    note: 'a refused connect is tried so long',
  }),
  /** Send a PROXY protocol header of this version first. */
  proxy: optional({ read: choice('v1', 'v2'), meaning: 'a PROXY protocol header is sent first', placeholder: 'v1|v2' }),
  /** What such a header of version 2 has beside what is known of the client: a checksum, a name of the connection; or nothing at all. */
  proxyTlv: optional({
    read: proxyTlv,
    write: list,
    meaning: (names: readonly string[]) =>
      names.includes('none')
        ? 'the PROXY header tells addresses alone'
        : 'what the PROXY header has beside what is known of the client',
    placeholder: 'crc32c,unique-id|none',
  }),
  /** TCP keep-alive: idle milliseconds before the first probe; 0 turns it off. */
  keepalive: optional({
    read: keepalive,
    write: (ms) => (ms === 0 ? 'no' : printDuration(ms)),
    meaning: (ms: number) => (ms === 0 ? 'no keep-alive probes' : 'silence before the first keep-alive probe'),
    placeholder: 'DURATION',
  }),
  /** Cut a connection whose destination acknowledges nothing for so many milliseconds (TCP_USER_TIMEOUT, RFC 5482; Linux, not on Deno). */
  userTimeout,
};

/** On client endpoints that originate TLS. */
export const clientTlsExtras = {
  /** Name to send (SNI) and to check in the certificate instead of the host. */
  serverName: optional({ read: host, isAddress: true, meaning: 'name to send and to check', placeholder: 'NAME' }),
  /** Do not verify the server's certificate. */
  insecure: optional({
    read: yes,
    write: () => 'yes',
    meaning: 'anybody can pretend to be the server',
    placeholder: 'yes',
  }),
  /** ALPN protocol names to offer, most preferred first. */
  alpn: optional({ read: alpn, write: list, meaning: 'protocols to offer, preferred first', placeholder: 'LIST' }),
  ...tlsExtras,
};

/** What {@link serverExtras} make of an endpoint. */
export type ServerExtras = ValuesOf<typeof serverExtras>;
/** What {@link serverAddressExtras} and {@link serverTcpExtras} make of an endpoint. */
export type ServerAddressExtras = ValuesOf<typeof serverAddressExtras> & ValuesOf<typeof serverTcpExtras>;
/** What {@link serverTlsExtras} and {@link serverNameExtras} make of an endpoint. */
export type ServerTlsExtras = ValuesOf<typeof serverTlsExtras> & ValuesOf<typeof serverNameExtras>;
/** What {@link clientExtras} make of an endpoint. */
export type ClientExtras = ValuesOf<typeof clientExtras>;
/** What {@link clientTlsExtras} make of an endpoint. */
export type ClientTlsExtras = ValuesOf<typeof clientTlsExtras>;
