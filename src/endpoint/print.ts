/**
 * Endpoints as text: required parameters by position, the others by name and only where they
 * differ from the default. Reading the text gives the same endpoint again.
 */
import { isIPv6 } from 'node:net';
import { formatDuration } from './duration.ts';
import type {
  ClientEndpoint, ClientExtras, ClientTlsExtras, ServerEndpoint, ServerExtras, ServerTlsExtras,
} from './model.ts';
import { escaped } from './text.ts';
import { defaultBacklog } from './values.ts';

/**
 * A server endpoint as grace would write it: parameters that have their default are left out. Parsing it
 * gives the same endpoint.
 */
export function printServer(endpoint: ServerEndpoint): string {
  switch (endpoint.type) {
    case 'tcp':
      return join('tcp', `${endpoint.port}`, byAddress('interface', endpoint.interface, ''), ...printListening(endpoint));
    case 'tcp6':
      return join('tcp6', `${endpoint.port}`, byAddress('interface', endpoint.interface, '::'), ...printListening(endpoint));
    case 'ssl':
      return join(
        'ssl', `${endpoint.port}`,
        by('privateKey', endpoint.privateKey, 'server.pem'),
        by('certKey', endpoint.certKey, endpoint.privateKey),
        by('sslmethod', endpoint.sslmethod),
        by('extraCertChain', endpoint.extraCertChain),
        by('dhParameters', endpoint.dhParameters),
        byAddress('interface', endpoint.interface, ''),
        ...printServerTlsExtras(endpoint),
        ...printListening(endpoint),
      );
    case 'tls':
      return join(
        'tls', escaped(endpoint.path), endpoint.port === 443 ? null : `${endpoint.port}`,
        byAddress('interface', endpoint.interface, '::'),
        ...printServerTlsExtras(endpoint),
        ...printListening(endpoint),
      );
    case 'unix': {
      const isAbstract = endpoint.address.startsWith('\0');
      return join(
        'unix', printSocketPath(endpoint.address),
        by('mode', endpoint.mode, '666'),
        endpoint.lockfile === !isAbstract ? null : by('lockfile', endpoint.lockfile ? '1' : '0'),
        ...printListening(endpoint),
      );
    }
    case 'systemd':
      return join(
        'systemd', by('domain', endpoint.domain), by('index', endpoint.index), by('name', endpoint.name),
        ...printServerExtras(endpoint),
      );
    case 'fd':
      return join('fd', `${endpoint.fd}`, ...printServerExtras(endpoint));
    case 'stdio':
      return 'stdio:';
    case 'haproxy':
      return `haproxy:${printServer(endpoint.endpoint)}`;
  }
}

/** A client endpoint as grace would write it; see {@link printServer}. */
export function printClient(endpoint: ClientEndpoint): string {
  switch (endpoint.type) {
    case 'tcp':
      return join('tcp', ...printTarget(endpoint), ...printClientExtras(endpoint));
    case 'ssl':
      return join(
        'ssl', ...printTarget(endpoint),
        byAddress('hostname', endpoint.hostname),
        by('certKey', endpoint.certKey),
        by('privateKey', endpoint.privateKey),
        by('caCertsDir', endpoint.caCertsDir),
        ...printClientTlsExtras(endpoint),
        ...printClientExtras(endpoint),
      );
    case 'tls':
      return join(
        'tls', ...printTarget(endpoint),
        by('certificate', endpoint.certificate),
        by('privateKey', endpoint.privateKey),
        by('trustRoots', endpoint.trustRoots),
        by('endpoint', endpoint.endpoint === null ? null : printClient(endpoint.endpoint)),
        ...printClientTlsExtras(endpoint),
        ...printClientExtras(endpoint),
      );
    case 'unix':
      return join(
        'unix', printSocketPath(endpoint.path),
        by('timeout', endpoint.timeout, 30),
        endpoint.lockfile ? 'lockfile=1' : null,
        ...printClientExtras(endpoint),
      );
  }
}

type Part = string | null;

function join(...parts: readonly Part[]): string {
  return parts.filter((part) => part !== null).join(':');
}

/** A keyword field, or null when the value is not given or is the default. */
function by(name: string, value: string | number | null | undefined, fallback?: string | number): Part {
  return value === null || value === undefined || value === fallback ? null : `${name}=${escaped(`${value}`)}`;
}

function byAddress(name: string, value: string | null | undefined, fallback?: string): Part {
  return value === null || value === undefined || value === fallback ? null : `${name}=${printAddress(value)}`;
}

/** Brackets are easier to read and to type in a shell than a backslash before each colon. */
function printAddress(address: string): string {
  return isIPv6(address) ? `[${address}]` : escaped(address);
}

/** An abstract name starts with NUL, which no command line can hold. */
function printSocketPath(path: string): string {
  return path.startsWith('\0') ? `abstract=${escaped(path.slice(1))}` : escaped(path);
}

function printListening(endpoint: ServerExtras & { backlog: number }): Part[] {
  return [by('backlog', endpoint.backlog, defaultBacklog), ...printServerExtras(endpoint)];
}

function printTarget({ host, port, timeout, bindAddress }: { host: string; port: number; timeout: number; bindAddress: string | null }): Part[] {
  return [printAddress(host), `${port}`, by('timeout', timeout, 30), byAddress('bindAddress', bindAddress)];
}

function printServerExtras({ maxconn, idle, proxy }: ServerExtras): Part[] {
  return [by('maxconn', maxconn), by('idle', idle === undefined ? null : formatDuration(idle)), by('proxy', proxy)];
}

function printServerTlsExtras({ alpn, sni, clientCA }: ServerTlsExtras): Part[] {
  return [by('alpn', alpn?.join(',')), by('sni', sni), by('clientCA', clientCA)];
}

function printClientExtras({ retry, proxy, keepalive }: ClientExtras): Part[] {
  const idle = keepalive === 0 ? 'no' : keepalive;
  return [
    by('retry', retry === undefined ? null : formatDuration(retry)),
    by('proxy', proxy),
    by('keepalive', typeof idle === 'number' ? formatDuration(idle) : idle),
  ];
}

function printClientTlsExtras({ serverName, insecure, alpn }: ClientTlsExtras): Part[] {
  return [byAddress('serverName', serverName), insecure ? 'insecure=yes' : null, by('alpn', alpn?.join(','))];
}
