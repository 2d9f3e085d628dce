/**
 * When two endpoints are the same. Keys are canonical texts to compare and to look up by, not to
 * show; two are equal exactly when the endpoints mean the same, however they were written.
 */
import { normalize } from 'node:path';
import { canonicalHost, familyOf, wholeName } from './address.ts';
import type { ClientEndpoint, ServerEndpoint, SslServer, TcpServer, TlsClient, TlsServer } from './model.ts';
import { mapPaths } from './paths.ts';
import { sniMeaning } from './sni.ts';
import { tlsVersions } from './versions.ts';

/** First of the inherited descriptors: SD_LISTEN_FDS_START of sd_listen_fds(3). */
const firstInherited = 3;

/** Identity of a whole server endpoint, its parameters included. Relative paths are compared as they are. */
export function serverKey(endpoint: ServerEndpoint): string {
  return JSON.stringify(serverMeaning(mapPaths(endpoint, canonicalPath)), sortedKeys);
}

/**
 * Identity of the place where an endpoint listens alone: two with the same one cannot both listen.
 * Port 0 is another port each time, so there only the same endpoint is the same place.
 */
export function listenKey(endpoint: ServerEndpoint): string {
  switch (endpoint.type) {
    case 'tcp':
    case 'tcp6':
    case 'ssl':
    case 'tls':
      return endpoint.port === 0 ? serverKey(endpoint) : JSON.stringify(bindMeaning(endpoint), sortedKeys);
    case 'unix':
      return `unix ${mapPaths(endpoint, canonicalPath).address}`;
    case 'systemd':
      return endpoint.index === null ? `inherited ${endpoint.name}` : `descriptor ${firstInherited + endpoint.index}`;
    case 'fd':
      return `descriptor ${endpoint.fd}`;
    case 'stdio':
      return 'stdio';
    case 'haproxy':
      return listenKey(endpoint.endpoint);
  }
}

/** Identity of a whole client endpoint, its parameters included. Relative paths are compared as they are. */
export function clientKey(endpoint: ClientEndpoint): string {
  return JSON.stringify(clientMeaning(mapPaths(endpoint, canonicalPath)), sortedKeys);
}

function serverMeaning(endpoint: ServerEndpoint): object {
  switch (endpoint.type) {
    case 'tcp':
    case 'tcp6': {
      const { type: _, interface: __, ...rest } = endpoint;
      return { ...rest, ...bindMeaning(endpoint), protocol: 'tcp' };
    }
    case 'ssl': {
      const { sslmethod, ...rest } = tlsServerMeaning(endpoint);
      return { ...rest, ...bindMeaning(endpoint), versions: tlsVersions(sslmethod) };
    }
    case 'tls':
      return { ...tlsServerMeaning(endpoint), ...bindMeaning(endpoint) };
    case 'haproxy':
      return serverMeaning({ ...endpoint.endpoint, proxy: 'accept' });
    case 'unix':
    case 'systemd':
    case 'fd':
    case 'stdio':
      return endpoint;
  }
}

/** Without what says no more than what is so anyway. */
function tlsServerMeaning<Endpoint extends SslServer | TlsServer>(endpoint: Endpoint): Endpoint {
  const meaning = { ...endpoint };
  if (meaning.clientAuth === 'required') delete meaning.clientAuth;
  if (meaning.minTLS === '1.2') delete meaning.minTLS;
  return meaning;
}

type Bind = { family: 4 | 6; interface: string; port: number };

/** `tcp` and `tcp6` differ in their defaults, and in the family that a name is resolved to. */
function bindMeaning({ type, interface: address, port }: TcpServer | SslServer | TlsServer): Bind {
  const family = familyOf(address) ?? (type === 'tcp6' ? 6 : 4);
  return { family, interface: address === '' ? '0.0.0.0' : canonicalHost(address), port };
}

function clientMeaning(endpoint: ClientEndpoint): object {
  switch (endpoint.type) {
    case 'tcp':
      return { ...endpoint, host: canonicalHost(endpoint.host), bindAddress: bindAddressMeaning(endpoint) };
    case 'unix':
      return endpoint;
    case 'srv':
      return {
        ...endpoint,
        // Such a name is whole, with or without a dot at its end.
        name: wholeName(endpoint.name),
        bindAddress: bindAddressMeaning(endpoint),
        server: endpoint.server?.map(({ host, port }) => ({ host: canonicalHost(host), port })) ?? null,
      };
    case 'ssl': {
      const { hostname, certKey, caCertsDir, ...rest } = endpoint;
      const named = hostname === null ? rest : { ...rest, serverName: hostname };
      return tlsMeaning({ ...named, type: 'tls', certificate: certKey, trustRoots: caCertsDir, endpoint: null });
    }
    case 'tls':
      return tlsMeaning(endpoint);
    case 'sni':
      return sniMeaning(endpoint, clientMeaning);
  }
}

/** `ssl` and `tls` are two ways of writing one thing, since grace checks chain and name in both. */
function tlsMeaning(endpoint: TlsClient): object {
  return {
    ...endpoint,
    host: canonicalHost(endpoint.host),
    bindAddress: bindAddressMeaning(endpoint),
    serverName: canonicalHost(endpoint.serverName ?? endpoint.host),
    privateKey: endpoint.privateKey ?? endpoint.certificate,
    endpoint: endpoint.endpoint === null ? null : clientMeaning(endpoint.endpoint),
  };
}

function bindAddressMeaning({ bindAddress }: { bindAddress: string | null }): string | null {
  return bindAddress === null ? null : canonicalHost(bindAddress);
}

/** Without `.`, `..`, doubled slashes and one at the end, as `resolvePaths` leaves it. */
function canonicalPath(path: string): string {
  return normalize(path).replace(/(?<=.)\/$/, '');
}

/** Replacer for JSON.stringify that puts properties in one order. */
function sortedKeys(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
