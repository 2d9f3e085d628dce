import { familyOf } from './address.ts';
import { readWithHint } from './address-hint.ts';
import { type Arguments, matchArguments, type Reader } from './arguments.ts';
import { type Description, readDescription, unknownType } from './description.ts';
import { clientExtraNames, clientTlsExtraNames, readClientExtras, readClientTlsExtras } from './extras.ts';
import type { ClientEndpoint, SslClient, TcpClient, TlsClient, UnixClient } from './model.ts';
import { asClient } from './other-side.ts';
import { expandShort } from './short.ts';
import { type Field, type Piece, pieceOf, textOf } from './text.ts';
import { abstractName, clientPort, host, localAddress, lockfile, path, socketPath, timeoutSeconds } from './values.ts';

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
  switch (description.kind) {
    case 'tcp':
      return readTcp(description);
    case 'ssl':
      return readSsl(description);
    case 'tls':
      return readTls(description);
    case 'unix':
      return readUnix(description);
    default:
      throw unknownType(description, 'the client types are tcp, ssl, tls and unix');
  }
}

const needsTls = 'it is an argument of the types that speak TLS, ssl and tls';
const tlsOnly = { serverName: needsTls, insecure: needsTls, alpn: needsTls, hostname: needsTls };

function readTcp(description: Description): TcpClient {
  const args = matchArguments(description, {
    usage: 'tcp:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDRESS]',
    positional: hostAndPortOrder(description.fields),
    keywords: ['timeout', 'bindAddress', ...clientExtraNames],
    foreign: tlsOnly,
  });
  return { type: 'tcp', ...readTarget(args), ...readClientExtras(args) };
}

/** A single positional argument is the host, or the port when the host is given by name. */
function hostAndPortOrder(fields: readonly Field[]): readonly ('host' | 'port')[] {
  const hasHost = fields.some(({ name }) => name !== null && textOf(name) === 'host');
  const positionals = fields.filter(({ name }) => name === null).length;
  return hasHost && positionals === 1 ? ['port', 'host'] : ['host', 'port'];
}

type Target = Pick<TcpClient, 'host' | 'port' | 'timeout' | 'bindAddress'>;

function readTarget(args: Arguments<keyof Target>): Target {
  const target: Target = {
    host: args.read('host', host),
    port: args.read('port', clientPort),
    timeout: args.readOr('timeout', timeoutSeconds, 30),
    bindAddress: args.readOr('bindAddress', localAddress, null),
  };
  const families = [familyOf(target.host), target.bindAddress === null ? null : familyOf(target.bindAddress)];
  if (families.includes(4) && families.includes(6)) {
    throw args.conflict('bindAddress', 'host and bindAddress are of different address families');
  }
  return target;
}

function readSsl(description: Description): SslClient {
  const args = matchArguments(description, {
    usage: 'ssl:HOST:PORT[:hostname=NAME][:caCertsDir=DIRECTORY][:certKey=FILE][:privateKey=FILE][:timeout=SECONDS]',
    positional: hostAndPortOrder(description.fields),
    keywords: [
      'timeout', 'bindAddress', 'hostname', 'certKey', 'privateKey', 'caCertsDir', ...clientTlsExtraNames, ...clientExtraNames,
    ],
    foreign: { trustRoots: 'ssl calls it caCertsDir', certificate: 'ssl calls it certKey' },
  });
  if (args.has('hostname') && args.has('serverName')) {
    throw args.conflict('serverName', 'serverName and hostname are the same thing', 'leave one of them out');
  }
  if (args.has('privateKey') && !args.has('certKey')) {
    throw args.conflict('privateKey', 'missing argument: certKey, for privateKey is of no use alone');
  }
  const endpoint: SslClient = {
    type: 'ssl',
    ...readTarget(args),
    hostname: args.readOr('hostname', host, null),
    certKey: args.readOr('certKey', path, null),
    privateKey: args.readOr('privateKey', path, null),
    caCertsDir: args.readOr('caCertsDir', path, null),
    ...readClientTlsExtras(args),
    ...readClientExtras(args),
  };
  if (endpoint.insecure && args.has('hostname')) throw args.conflict('insecure', 'insecure=yes would not check the hostname', 'give the name to send as serverName');
  if (endpoint.insecure && args.has('caCertsDir')) throw args.conflict('insecure', 'insecure=yes would not use caCertsDir');
  return endpoint;
}

function readTls(description: Description): TlsClient {
  const args = matchArguments(description, {
    usage: 'tls:HOST:PORT[:trustRoots=DIRECTORY][:certificate=FILE][:privateKey=FILE][:timeout=SECONDS]',
    positional: ['host', 'port', 'timeout', 'bindAddress', 'certificate', 'privateKey', 'trustRoots', 'endpoint'],
    keywords: [...clientTlsExtraNames, ...clientExtraNames],
    foreign: { caCertsDir: 'tls calls it trustRoots', certKey: 'tls calls it certificate', hostname: 'tls calls it serverName' },
  });
  if (args.has('privateKey') && !args.has('certificate')) {
    throw args.conflict('privateKey', 'missing argument: certificate, for privateKey is of no use alone');
  }
  const endpoint: TlsClient = {
    type: 'tls',
    ...readTarget(args),
    certificate: args.readOr('certificate', path, null),
    privateKey: args.readOr('privateKey', path, null),
    trustRoots: args.readOr('trustRoots', path, null),
    endpoint: args.readOr('endpoint', nested, null),
    ...readClientTlsExtras(args),
    ...readClientExtras(args),
  };
  if (endpoint.insecure && args.has('trustRoots')) throw args.conflict('insecure', 'insecure=yes would not use trustRoots');
  if (endpoint.endpoint === null) return endpoint;
  for (const name of ['bindAddress', 'retry', 'proxy', 'keepalive'] as const) {
    if (args.has(name)) throw args.conflict(name, `${name} belongs to the endpoint that is connected through`, `move it into endpoint=…`);
  }
  return endpoint;
}

const nested: Reader<ClientEndpoint> = ({ piece }) => readClient(piece);

function readUnix(description: Description): UnixClient {
  const args = matchArguments(description, {
    usage: 'unix:PATH[:timeout=SECONDS][:lockfile=1]',
    positional: ['path'],
    keywords: ['timeout', 'lockfile', 'abstract', 'retry', 'proxy', 'keepalive'],
    aliases: { address: 'path' },
    foreign: tlsOnly,
  });
  if (args.has('keepalive')) throw args.conflict('keepalive', 'keepalive is for TCP, not for Unix sockets');
  if (args.has('abstract') && args.has('path')) throw args.conflict('abstract', 'a socket has a path or an abstract name, not both');
  const endpoint: UnixClient = {
    type: 'unix',
    path: args.has('abstract') ? args.read('abstract', abstractName) : args.read('path', socketPath),
    timeout: args.readOr('timeout', timeoutSeconds, 30),
    lockfile: args.readOr('lockfile', lockfile, false),
    ...readClientExtras(args),
  };
  if (endpoint.lockfile && endpoint.path.startsWith('\0')) throw args.conflict('lockfile', 'an abstract socket has no lock file');
  return endpoint;
}
