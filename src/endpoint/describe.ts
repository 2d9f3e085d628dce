/** Endpoints for people and for programs that ask what a string means. */
import { isIPv6 } from 'node:net';
import { formatDuration } from './duration.ts';
import { quoted } from './error.ts';
import type {
  BindableServer, ClientEndpoint, ClientExtras, ClientTlsExtras, ServerEndpoint, ServerExtras, ServerTlsExtras, SslClient, TcpClient,
  TlsClient,
} from './model.ts';
import { trustOf } from './files.ts';
import { serverNameOf } from './server-name.ts';
import { tlsVersions } from './versions.ts';

/**
 * The normal form as JSON: every parameter of the type by its name with defaults filled in, null for
 * "not given"; grace's own parameters only when given; wrapped and nested ones under `endpoint`.
 */
export function toJson(endpoint: ServerEndpoint | ClientEndpoint): Record<string, unknown> {
  return structuredClone<Record<string, unknown>>(endpoint);
}

/** One parameter in plain words. */
export type Explanation = { name: string; value: string; meaning: string };

/** Every parameter of a server endpoint, in plain words, defaults included. */
export function explainServer(endpoint: ServerEndpoint): Explanation[] {
  switch (endpoint.type) {
    case 'stdio':
      return [row('type', 'stdio', 'standard input and output, as a single connection')];
    case 'haproxy': {
      const header = 'each connection opens with a PROXY protocol header, which says who the client is';
      return [row('type', 'haproxy', header), ...explainServer(endpoint.endpoint).map(prefixed)];
    }
    case 'tcp':
    case 'tcp6':
      return [
        row('type', endpoint.type, endpoint.type === 'tcp' ? 'TCP' : 'TCP over IPv6'),
        ...explainBinding(endpoint),
        ...explainServerExtras(endpoint),
      ];
    case 'ssl': {
      const { privateKey, certKey, sslmethod, extraCertChain, dhParameters } = endpoint;
      const only = tlsVersions(sslmethod).maxVersion === undefined ? 'TLS 1.2 or later' : 'TLS 1.2 and no other version';
      return [
        row('type', 'ssl', 'TLS over TCP'),
        ...explainBinding(endpoint),
        row('privateKey', privateKey, 'file of the private key'),
        row('certKey', certKey, 'file of the certificate and its chain'),
        row('sslmethod', sslmethod, only),
        row('extraCertChain', extraCertChain, extraCertChain === null ? 'no further certificates are sent' : 'file of certificates to send after those of certKey'),
        row('dhParameters', dhParameters, dhParameters === null ? 'no finite-field Diffie-Hellman' : 'file of Diffie-Hellman parameters'),
        ...explainServerTlsExtras(endpoint),
        ...explainServerExtras(endpoint),
      ];
    }
    case 'tls':
      return [
        row('type', 'tls', 'TLS over TCP, with the certificate for the name that the client asks for'),
        row('path', endpoint.path, 'directory of keys and certificates, searched for .pem files'),
        ...explainBinding(endpoint),
        ...explainServerTlsExtras(endpoint),
        ...explainServerExtras(endpoint),
      ];
    case 'unix': {
      const isAbstract = endpoint.address.startsWith('\0');
      return [
        row('type', 'unix', 'Unix socket'),
        explainSocket('address', endpoint.address),
        row('mode', endpoint.mode, isAbstract ? 'of no use without a file' : 'permissions of the socket, octal'),
        row('backlog', endpoint.backlog, 'connections that may wait to be accepted'),
        row('lockfile', endpoint.lockfile, endpoint.lockfile ? 'ADDRESS.lock keeps others away' : 'no lock'),
        ...explainServerExtras(endpoint),
      ];
    }
    case 'systemd':
      return [
        row('type', 'systemd', 'socket that systemd opened'),
        row('domain', endpoint.domain, endpoint.domain === null ? 'whatever address family it is of' : 'address family that it must be of'),
        row('index', endpoint.index, endpoint.index === null ? 'chosen by name' : 'which of the inherited sockets, from 0'),
        row('name', endpoint.name, endpoint.name === null ? 'chosen by index' : 'which of the inherited sockets, by FileDescriptorName='),
        ...explainServerExtras(endpoint),
      ];
    case 'fd':
      return [
        row('type', 'fd', 'socket that the process inherited'),
        row('fd', endpoint.fd, 'number of its descriptor'),
        ...explainServerExtras(endpoint),
      ];
  }
}

/** Every parameter of a client endpoint, in plain words, defaults included. */
export function explainClient(endpoint: ClientEndpoint): Explanation[] {
  switch (endpoint.type) {
    case 'tcp':
      return [row('type', 'tcp', 'TCP'), ...explainTarget(endpoint), ...explainClientExtras(endpoint)];
    case 'unix':
      return [
        row('type', 'unix', 'Unix socket'),
        explainSocket('path', endpoint.path),
        row('timeout', endpoint.timeout, 'seconds to connect in'),
        row('lockfile', endpoint.lockfile, endpoint.lockfile ? 'only if a live process holds PATH.lock' : 'whether or not it is locked'),
        ...explainClientExtras(endpoint),
      ];
    case 'ssl':
      return [
        row('type', 'ssl', 'TLS over TCP'),
        ...explainTarget(endpoint),
        ...explainVerification(endpoint),
        ...explainOwnCertificate('certKey', endpoint.certKey, endpoint.privateKey),
        ...explainClientExtras(endpoint),
      ];
    case 'tls':
      return [
        row('type', 'tls', endpoint.endpoint === null ? 'TLS over TCP' : 'TLS over what endpoint says'),
        ...explainTarget(endpoint),
        ...explainVerification(endpoint),
        ...explainOwnCertificate('certificate', endpoint.certificate, endpoint.privateKey),
        row('endpoint', endpoint.endpoint?.type ?? null, endpoint.endpoint === null ? 'connected directly' : 'the way to the server, instead of host and port'),
        ...(endpoint.endpoint === null ? [] : explainClient(endpoint.endpoint).map(prefixed)),
        ...explainClientExtras(endpoint),
      ];
  }
}

/** `value` as a person would write it; `-` for what is not given. */
function row(name: string, value: string | number | boolean | null, meaning: string): Explanation {
  const shown = value === null ? '-' : value === '' ? '""' : typeof value === 'boolean' ? (value ? 'yes' : 'no') : `${value}`;
  return { name, value: shown, meaning };
}

function prefixed({ name, value, meaning }: Explanation): Explanation {
  return { name: `endpoint.${name}`, value, meaning };
}

function explainSocket(name: string, path: string): Explanation {
  if (path.startsWith('\0')) return row(name, quoted(path), 'name in the abstract namespace of Linux, not a file');
  return row(name, path, 'path of the socket');
}

function explainBinding({ port, interface: address, backlog, type }: Extract<BindableServer, { interface: string }>): Explanation[] {
  return [
    row('port', port, port === 0 ? 'the system chooses a free TCP port' : 'TCP port'),
    row('interface', address, meaningOfInterface(address, type === 'tcp6' ? 'IPv6' : 'IPv4')),
    row('backlog', backlog, 'connections that may wait to be accepted'),
  ];
}

function meaningOfInterface(address: string, family: string): string {
  if (address === '' || address === '0.0.0.0') return 'every IPv4 address of this machine';
  if (address === '::') return 'every address of this machine, IPv6 and IPv4';
  if (isIPv6(address)) return address === '::1' ? 'this machine only, over IPv6' : 'this IPv6 address only';
  if (/^127\.[0-9.]+$/.test(address)) return 'this machine only';
  return /^[0-9.]+$/.test(address) ? 'this address only' : `the ${family} address that this name has`;
}

function explainTarget({ host, port, timeout, bindAddress }: Pick<TcpClient, 'host' | 'port' | 'timeout' | 'bindAddress'>): Explanation[] {
  return [
    row('host', host, /^[0-9.]+$|:/.test(host) ? 'address to connect to' : 'name to connect to, looked up for each connection'),
    row('port', port, 'TCP port'),
    row('timeout', timeout, 'seconds to connect in'),
    row('bindAddress', bindAddress, bindAddress === null ? 'the system chooses the local address' : 'local address'),
  ];
}

function explainVerification(endpoint: SslClient | TlsClient): Explanation[] {
  const { checked, sent } = serverNameOf(endpoint);
  const check = endpoint.insecure ? 'not checked' : `the certificate must be for ${checked}`;
  const sending = sent === null ? 'no name is sent' : `${sent} is sent as the server's name`;
  const name = `${check}; ${sending}`;
  const { parameter: trustParameter, path: trust } = trustOf(endpoint);
  const authorities = trust === null ? 'signed by an authority that this system trusts' : 'signed by an authority of this directory';
  const rows: Explanation[] = [];
  if (endpoint.type === 'ssl') rows.push(row('hostname', endpoint.hostname, endpoint.serverName === undefined ? name : 'serverName says it'));
  if (endpoint.type === 'tls' || endpoint.serverName !== undefined) rows.push(row('serverName', endpoint.serverName ?? null, name));
  rows.push(row(trustParameter, trust, endpoint.insecure ? 'not checked' : authorities));
  return [...rows, ...explainClientTlsExtras(endpoint)];
}

function explainOwnCertificate(parameter: string, certificate: string | null, privateKey: string | null): Explanation[] {
  return [
    row(parameter, certificate, certificate === null ? 'no certificate is presented' : 'file of the certificate to present'),
    row('privateKey', privateKey, certificate === null ? 'none needed' : privateKey === null ? `in the file of ${parameter}` : 'file of its key'),
  ];
}

function explainServerExtras({ maxconn, idle, proxy }: ServerExtras): Explanation[] {
  const rows: Explanation[] = [];
  if (maxconn !== undefined) rows.push(row('maxconn', maxconn, 'connections at once; further clients wait'));
  if (idle !== undefined) rows.push(row('idle', formatDuration(idle), 'a connection without traffic for so long is closed'));
  if (proxy !== undefined) rows.push(row('proxy', proxy, 'each connection opens with a PROXY protocol header'));
  return rows;
}

function explainServerTlsExtras({ alpn, sni, clientCA }: ServerTlsExtras): Explanation[] {
  const rows: Explanation[] = [];
  if (alpn !== undefined) rows.push(row('alpn', alpn.join(','), 'protocols to agree on, preferred first'));
  if (sni !== undefined) rows.push(row('sni', sni, 'directory of certificates for other names'));
  if (clientCA !== undefined) rows.push(row('clientCA', clientCA, 'clients must have a certificate of one of these authorities'));
  return rows;
}

function explainClientExtras({ retry, proxy, keepalive }: ClientExtras): Explanation[] {
  const rows: Explanation[] = [];
  if (retry !== undefined) rows.push(row('retry', formatDuration(retry), 'a refused connect is tried again for so long'));
  if (proxy !== undefined) rows.push(row('proxy', proxy, 'a PROXY protocol header is sent first'));
  if (keepalive === 0) rows.push(row('keepalive', 'no', 'no keep-alive probes'));
  else if (keepalive !== undefined) rows.push(row('keepalive', formatDuration(keepalive), 'silence before the first keep-alive probe'));
  return rows;
}

function explainClientTlsExtras({ insecure, alpn }: ClientTlsExtras): Explanation[] {
  const rows: Explanation[] = [];
  if (insecure) rows.push(row('insecure', 'yes', 'anybody can pretend to be the server'));
  if (alpn !== undefined) rows.push(row('alpn', alpn.join(','), 'protocols to offer, preferred first'));
  return rows;
}
