/** What can be found wrong with an endpoint before the first socket is opened or contacted. */
import { resolve } from 'node:path';
import { encodeName } from '../sys/file-name.ts';
import { UNIX_PATH_MAX } from '../sys/sockaddr.ts';
import { readServerDirectory } from './directory.ts';
import { EndpointError, quoted } from './error.ts';
import { readClientCA, readClientIdentity, readClientTrust, readServerIdentity, trustOf } from './files.ts';
import type { FileOptions } from './files.ts';
import { directOf } from './inner.ts';
import { checkAnnounced, checkDescriptor, type ReadonlyEnvironment } from './inherited.ts';
import type { BindableServer, ClientEndpoint, ServerEndpoint } from './model.ts';
import { readNetworks } from './networks.ts';
import { printClient, printServer } from './print.ts';
import { readTicketKeys } from './ticket-keys.ts';

/** What an error names, and what is taken for inherited. */
export type CheckServerOptions = {
  /** The endpoint as the user typed it, for messages. */
  text?: string;
  env?: ReadonlyEnvironment;
  /**
   * Whether this very process is going to serve the endpoint (default). If not, sockets that are not
   * announced in `env` at all are no error, nor are those announced to another process.
   */
  isServing?: boolean;
  /** Hears of what works and could be better. */
  advise?: ((advice: string) => void) | undefined;
  /** Hears why the certificate should not replace one that is in use. */
  object?: FileOptions['object'];
};

/**
 * Read the files that the endpoint names and look for the sockets that it inherits. Returns
 * warnings; throws EndpointError.
 */
export function checkServer(
  endpoint: ServerEndpoint,
  { text = printServer(endpoint), env = process.env, isServing = true, advise, object }: CheckServerOptions = {},
): string[] {
  const warnings: string[] = [];
  const options = { text, warn: (warning: string) => void warnings.push(warning), advise, object };
  if (endpoint.type !== 'haproxy' && endpoint.type !== 'stdio') checkNetworks(endpoint, text);
  switch (endpoint.type) {
    case 'ssl':
      readServerIdentity(endpoint, options);
      if (endpoint.sni !== undefined)
        readServerDirectory({ path: endpoint.sni, passphrase: endpoint.passphrase }, { ...options, parameter: 'sni' });
      readTicketKeys(endpoint, options);
      break;
    case 'tls':
      readServerDirectory(endpoint, options);
      readClientCA(endpoint, options);
      readTicketKeys(endpoint, options);
      break;
    case 'unix':
      checkSocketPath(endpoint.address, text);
      break;
    case 'systemd':
      checkAnnounced(endpoint, { text, env, pid: isServing ? process.pid : null, mustBeAnnounced: isServing });
      break;
    case 'fd':
      checkDescriptor(endpoint, { text });
      break;
    case 'haproxy':
      return checkServer(endpoint.endpoint, { text, env, isServing, advise, object });
    case 'tcp':
    case 'tcp6':
    case 'stdio':
      break;
  }
  return warnings;
}

function checkNetworks({ allow, deny }: BindableServer, text: string): void {
  if (allow) readNetworks(allow, { parameter: 'allow', text });
  if (deny) readNetworks(deny, { parameter: 'deny', text });
}

/** What an error names, and what is looked at. */
export type CheckClientOptions = {
  text?: string;
  /** False: a Unix socket's path that no system call takes is no error; it is told to each client. Default true. */
  paths?: boolean;
  /** Hears of what works and could be better. */
  advise?: ((advice: string) => void) | undefined;
  /** Hears why the certificate should not replace one that is in use. */
  object?: FileOptions['object'];
};

/** Read the files that the endpoint names; nothing is contacted. Returns warnings; throws EndpointError. */
export function checkClient(
  endpoint: ClientEndpoint,
  { text = printClient(endpoint), paths = true, advise, object }: CheckClientOptions = {},
): string[] {
  const warnings: string[] = [];
  switch (endpoint.type) {
    case 'tcp':
    case 'srv':
      break;
    case 'unix':
      if (paths) checkSocketPath(endpoint.path, text);
      break;
    case 'ssl':
    case 'tls': {
      readClientIdentity(endpoint, { text, warn: (warning) => void warnings.push(warning), advise, object });
      // The system's own authorities are not this endpoint's to check, and take long to read.
      if (trustOf(endpoint).path !== null)
        readClientTrust(endpoint, { text, warn: (warning) => void warnings.push(warning) });
      if (endpoint.type === 'tls' && endpoint.endpoint !== null)
        warnings.push(...checkClient(endpoint.endpoint, { text, paths, advise, object }));
      break;
    }
    case 'sni':
      for (const each of new Set(directOf(endpoint)))
        warnings.push(...checkClient(each, { text, paths, advise, object }));
  }
  return warnings;
}

/** Throws EndpointError when the endpoint leads to a Unix socket whose path no system call takes. */
export function checkPath(endpoint: ClientEndpoint): void {
  if (endpoint.type === 'sni') directOf(endpoint).forEach(checkPath);
  else if (endpoint.type === 'unix') checkSocketPath(endpoint.path, printClient(endpoint));
  else if (endpoint.type === 'tls' && endpoint.endpoint !== null) checkPath(endpoint.endpoint);
}

function checkSocketPath(path: string, text: string): void {
  const address = path.startsWith('\0') ? path.slice(1) : resolve(path);
  const bytes = encodeName(address).length;
  if (bytes <= UNIX_PATH_MAX) return;
  throw new EndpointError(
    `path too long: ${quoted(address)} has ${bytes} bytes, and a socket's path at most ${UNIX_PATH_MAX}`,
    { text },
  );
}
