/** How client endpoints are read: by the shape of their type, and by what is odd about it. */
import { familyOf } from './address.ts';
import { readWithHint } from './address-hint.ts';
import type { Arguments } from './arguments.ts';
import { srv, ssl, tcp, tlsShape, unix } from './client-shapes.ts';
import { readDescription, unknownType } from './description.ts';
import type { Description } from './description.ts';
import type { ClientEndpoint, DirectClient, SrvClient, SslClient, TcpClient, TlsClient, UnixClient } from './model.ts';
import { asClient, hintForHost } from './other-side.ts';
import { argumentsOf, readParameters } from './parameter.ts';
import type { AnyShape } from './parameter.ts';
import { expandShort } from './short.ts';
import { readSni } from './sni.ts';
import { errorAt, pieceOf, textOf } from './text.ts';
import type { Field, Piece } from './text.ts';
import { abstractName } from './values.ts';

/** The types that connect to a single place. One of tls may have another inside, which is read as all are. */
export const clientShapes = { tcp, ssl, tls: tlsShape(({ piece }) => readDirect(piece)), unix, srv };

/** The shape of an endpoint that connects. */
export function clientShape({ type }: DirectClient): AnyShape {
  return clientShapes[type];
}

/**
 * What a client endpoint string says. Nothing is read, resolved or contacted for it.
 * Throws EndpointError, which shows the place and, where colons were left unescaped, the right spelling.
 */
export function parseClient(text: string): ClientEndpoint {
  return readWithHint(text, (each) => readClient(longOrTyped(pieceOf(each))), asClient);
}

/** A short form is read as the long one that it stands for. */
function longOrTyped(source: Piece): Piece {
  return expandShort(source, 'client') ?? source;
}

function readClient(source: Piece): ClientEndpoint {
  const description = readDescription(source);
  if (description.kind !== 'sni') return readDirectly(source, description);
  return readSni(description, (piece) => readDirect(longOrTyped(piece)));
}

/** What stands inside another endpoint. */
function readDirect(source: Piece): DirectClient {
  const description = readDescription(source);
  if (description.kind === 'sni')
    throw errorAt(description.type, 'sni cannot be inside another endpoint', 'it chooses among whole destinations');
  return readDirectly(source, description);
}

function readDirectly(source: Piece, description: Description): DirectClient {
  const endpoint = readOfType(description, source);
  if (endpoint.proxyTlv !== undefined && endpoint.proxy !== 'v2')
    throw errorAt(
      description.type,
      'proxyTlv is about PROXY headers of version 2, and none is sent here',
      'add proxy=v2, or leave proxyTlv out',
    );
  return endpoint;
}

function readOfType(description: Description, source: Piece): DirectClient {
  switch (description.kind) {
    case 'tcp':
      return readTcp(description);
    case 'ssl':
      return readSsl(description);
    case 'tls':
      return readTls(description);
    case 'unix':
      return readUnix(description);
    case 'srv':
      return readSrv(description);
    default:
      throw unknownType(
        description,
        hintForHost(textOf(source), 'client') ?? 'the client types are tcp, ssl, tls, unix, srv and sni',
      );
  }
}

/** A single positional argument is the host, or the port when the host is given by name. */
function hostAndPortOrder(fields: readonly Field[]): readonly ('host' | 'port')[] {
  const hasHost = fields.some(({ name }) => name !== null && textOf(name) === 'host');
  const positionals = fields.filter(({ name }) => name === null).length;
  return hasHost && positionals === 1 ? ['port', 'host'] : ['host', 'port'];
}

function checkFamilies({ host, bindAddress }: Pick<TcpClient, 'host' | 'bindAddress'>, args: Arguments<string>): void {
  const families = [familyOf(host), bindAddress === null ? null : familyOf(bindAddress)];
  if (families.includes(4) && families.includes(6)) {
    throw args.conflict('bindAddress', 'host and bindAddress are of different address families');
  }
}

function readTcp(description: Description): TcpClient {
  const args = argumentsOf({ ...tcp, positional: hostAndPortOrder(description.fields) }, description);
  const endpoint: TcpClient = { type: 'tcp', ...readParameters(tcp, args) };
  checkFamilies(endpoint, args);
  return endpoint;
}

function readSsl(description: Description): SslClient {
  const args = argumentsOf({ ...ssl, positional: hostAndPortOrder(description.fields) }, description);
  if (args.has('hostname') && args.has('serverName')) {
    throw args.conflict('serverName', 'serverName and hostname are the same thing', 'leave one of them out');
  }
  if (args.has('privateKey') && !args.has('certKey')) {
    throw args.conflict('privateKey', 'missing argument: certKey, for privateKey is of no use alone');
  }
  if (args.has('passphrase') && !args.has('certKey'))
    throw args.conflict('passphrase', 'missing argument: certKey, for passphrase is of no use alone');
  const endpoint: SslClient = { type: 'ssl', ...readParameters(ssl, args) };
  checkFamilies(endpoint, args);
  if (endpoint.insecure && args.has('hostname'))
    throw args.conflict('insecure', 'insecure=yes would not check the hostname', 'give the name to send as serverName');
  if (endpoint.insecure && args.has('caCertsDir'))
    throw args.conflict('insecure', 'insecure=yes would not use caCertsDir');
  return endpoint;
}

function readTls(description: Description): TlsClient {
  const { tls } = clientShapes;
  const args = argumentsOf(tls, description);
  if (args.has('privateKey') && !args.has('certificate')) {
    throw args.conflict('privateKey', 'missing argument: certificate, for privateKey is of no use alone');
  }
  if (args.has('passphrase') && !args.has('certificate'))
    throw args.conflict('passphrase', 'missing argument: certificate, for passphrase is of no use alone');
  const endpoint: TlsClient = { type: 'tls', ...readParameters(tls, args) };
  checkFamilies(endpoint, args);
  if (endpoint.insecure && args.has('trustRoots'))
    throw args.conflict('insecure', 'insecure=yes would not use trustRoots');
  if (endpoint.endpoint === null) return endpoint;
  for (const name of ['bindAddress', 'retry', 'proxy', 'proxyTlv', 'keepalive', 'userTimeout'] as const) {
    if (args.has(name))
      throw args.conflict(name, `${name} belongs to the endpoint that is connected through`, `move it into endpoint=…`);
  }
  return endpoint;
}

function readSrv(description: Description): SrvClient {
  return { type: 'srv', ...readParameters(srv, argumentsOf(srv, description)) };
}

function readUnix(description: Description): UnixClient {
  const args = argumentsOf(unix, description);
  for (const name of ['keepalive', 'userTimeout'] as const)
    if (args.has(name)) throw args.conflict(name, `${name} is for TCP, not for Unix sockets`);
  if (args.has('abstract') && args.has('path'))
    throw args.conflict('abstract', 'a socket has a path or an abstract name, not both');
  const known = args.has('abstract') ? { path: args.read('abstract', abstractName) } : {};
  const endpoint: UnixClient = { type: 'unix', ...readParameters(unix, args, known) };
  if (endpoint.lockfile && endpoint.path.startsWith('\0'))
    throw args.conflict('lockfile', 'an abstract socket has no lock file');
  return endpoint;
}
