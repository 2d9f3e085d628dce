/** The types of client endpoints with their parameters, and how they are read. Names, orders and defaults are Twisted's, but for what extras.ts adds. */
import { familyOf } from './address.ts';
import { readWithHint } from './address-hint.ts';
import type { Arguments } from './arguments.ts';
import { readDescription, unknownType } from './description.ts';
import type { Description } from './description.ts';
import { clientExtras, clientTlsExtras } from './extras.ts';
import type { ClientEndpoint, DirectClient, SrvClient, SslClient, TcpClient, TlsClient, UnixClient } from './model.ts';
import { nameServers, writeNameServers } from './name-servers.ts';
import { asClient, hintForHost } from './other-side.ts';
import { argumentsOf, defaulted, readParameters, required, shapeOf } from './parameter.ts';
import type { AnyShape, Fields } from './parameter.ts';
import { serverNameOf } from './server-name.ts';
import { expandShort } from './short.ts';
import { readSni } from './sni.ts';
import { errorAt, pieceOf, textOf } from './text.ts';
import type { Field, Piece } from './text.ts';
import * as values from './values.ts';

const needsTls = 'it is an argument of the types that speak TLS, ssl and tls';
const tlsOnly = {
  serverName: needsTls,
  insecure: needsTls,
  alpn: needsTls,
  hostname: needsTls,
  passphrase: needsTls,
  truncation: needsTls,
};

const timeout = defaulted(30, {
  read: values.timeoutSeconds,
  meaning: 'seconds to connect in',
  placeholder: 'SECONDS',
  note: 'to connect in, 30',
});

const bindAddress = defaulted(null, {
  read: values.localAddress,
  isAddress: true,
  meaning: (address) => (address === null ? 'the system chooses the local address' : 'local address'),
  placeholder: 'ADDRESS',
});

const target = {
  host: required({
    read: values.host,
    isAddress: true,
    meaning: (host) =>
      /^[0-9.]+$|:/.test(host) ? 'address to connect to' : 'name to connect to, looked up for each connection',
    placeholder: 'HOST',
  }),
  port: required({ read: values.clientPort, meaning: 'TCP port', placeholder: 'PORT' }),
  timeout,
  bindAddress,
};

/** Who the server must be, and what it is told of that. */
function nameMeaning(endpoint: Fields): string {
  const { checked, sent } = serverNameOf(endpoint as unknown as SslClient | TlsClient);
  const check = endpoint['insecure'] ? 'not checked' : `the certificate must be for ${checked}`;
  return `${check}; ${sent === null ? 'no name is sent' : `${sent} is sent as the server's name`}`;
}

const serverName = {
  ...clientTlsExtras.serverName,
  meaning: (_: string | undefined, endpoint: Fields) => nameMeaning(endpoint),
};

/** The directory of authorities, under the name that a type has for it. */
const authorities = defaulted(null, {
  read: values.path,
  isPath: true,
  meaning: (directory: string | null, { insecure }) => {
    if (insecure) return 'not checked';
    return directory === null
      ? 'signed by an authority that this system trusts'
      : 'signed by an authority of this directory';
  },
  placeholder: 'DIRECTORY',
});

const ownCertificate = defaulted(null, {
  read: values.path,
  isPath: true,
  meaning: (file) => (file === null ? 'no certificate is presented' : 'file of the certificate to present'),
  placeholder: 'FILE',
});

function ownKey(certificate: 'certKey' | 'certificate') {
  return defaulted(null, {
    read: values.path,
    isPath: true,
    meaning: (file: string | null, endpoint) => {
      if (endpoint[certificate] === null) return 'none needed';
      return file === null ? `in the file of ${certificate}` : 'file of its key';
    },
    placeholder: 'FILE',
  });
}

const tcp = shapeOf({
  type: 'tcp',
  meaning: 'TCP',
  usage: 'tcp:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDRESS]',
  parameters: { ...target, ...clientExtras },
  positional: ['host', 'port'],
  printed: 2,
  foreign: tlsOnly,
});

const ssl = shapeOf({
  type: 'ssl',
  meaning: 'TLS over TCP',
  usage: 'ssl:HOST:PORT[:hostname=NAME][:caCertsDir=DIRECTORY][:certKey=FILE][:privateKey=FILE][:timeout=SECONDS]',
  parameters: {
    ...target,
    hostname: defaulted(null, {
      read: values.host,
      isAddress: true,
      meaning: (_, endpoint) => (endpoint['serverName'] === undefined ? nameMeaning(endpoint) : 'serverName says it'),
      placeholder: 'NAME',
    }),
    serverName,
    caCertsDir: authorities,
    insecure: clientTlsExtras.insecure,
    alpn: clientTlsExtras.alpn,
    passphrase: clientTlsExtras.passphrase,
    truncation: clientTlsExtras.truncation,
    certKey: ownCertificate,
    privateKey: ownKey('certKey'),
    ...clientExtras,
  },
  positional: ['host', 'port'],
  printed: 2,
  foreign: { trustRoots: 'ssl calls it caCertsDir', certificate: 'ssl calls it certKey' },
});

const tls = shapeOf({
  type: 'tls',
  meaning: (_: string, { endpoint }: Fields) => (endpoint === null ? 'TLS over TCP' : 'TLS over what endpoint says'),
  usage: 'tls:HOST:PORT[:trustRoots=DIRECTORY][:certificate=FILE][:privateKey=FILE][:timeout=SECONDS]',
  parameters: {
    ...target,
    serverName: { ...serverName, isTold: true as const },
    trustRoots: authorities,
    insecure: clientTlsExtras.insecure,
    alpn: clientTlsExtras.alpn,
    passphrase: clientTlsExtras.passphrase,
    truncation: clientTlsExtras.truncation,
    certificate: ownCertificate,
    privateKey: ownKey('certificate'),
    endpoint: defaulted(null, {
      read: ({ piece }): DirectClient => readDirect(piece),
      meaning: (nested: DirectClient | null) =>
        nested === null ? 'connected directly' : 'the way to the server, instead of host and port',
      placeholder: 'ENDPOINT',
    }),
    ...clientExtras,
  },
  positional: ['host', 'port', 'timeout', 'bindAddress', 'certificate', 'privateKey', 'trustRoots', 'endpoint'],
  printed: 2,
  foreign: {
    caCertsDir: 'tls calls it trustRoots',
    certKey: 'tls calls it certificate',
    hostname: 'tls calls it serverName',
  },
});

const { keepalive: _keepalive, userTimeout: _userTimeout, ...unixExtras } = clientExtras;

const unix = shapeOf({
  type: 'unix',
  meaning: 'Unix socket',
  usage: 'unix:PATH[:timeout=SECONDS][:lockfile=1]',
  parameters: {
    path: required({ read: values.socketPath, isPath: true, meaning: values.socketMeaning, placeholder: 'PATH' }),
    timeout,
    lockfile: defaulted(false, {
      read: values.lockfile,
      write: values.zeroOrOne,
      meaning: (isNeeded) => (isNeeded ? 'only if a live process holds PATH.lock' : 'whether or not it is locked'),
      placeholder: '1',
    }),
    ...unixExtras,
  },
  positional: ['path'],
  printed: 1,
  keywords: ['abstract', 'keepalive', 'userTimeout'],
  aliases: { address: 'path' },
  foreign: tlsOnly,
});

const srv = shapeOf({
  type: 'srv',
  meaning: 'TCP, to the targets that DNS has for a service',
  usage: 'srv:_SERVICE._tcp.DOMAIN[:server=ADDRESS][:timeout=SECONDS][:bindAddress=ADDRESS]',
  parameters: {
    name: required({
      read: values.serviceName,
      meaning: (name) =>
        `name of its SRV records${/^_[^.]+\._[^.]+\../.test(name) ? '' : ' (mostly _SERVICE._tcp.DOMAIN)'}: the lowest priority that can be reached, by weight`,
      placeholder: 'NAME',
    }),
    timeout,
    bindAddress,
    server: defaulted(null, {
      read: nameServers,
      write: writeNameServers,
      meaning: (servers) => (servers === null ? 'the name servers of the system are asked' : 'who is asked'),
      placeholder: 'ADDRESS',
      note: 'the name server to ask',
    }),
    ...clientExtras,
  },
  positional: ['name'],
  printed: 1,
  aliases: { host: 'name' },
  foreign: { ...tlsOnly, port: 'DNS tells the port' },
});

/** The types that connect to a single place. */
export const clientShapes = { tcp, ssl, tls, unix, srv };

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
  const known = args.has('abstract') ? { path: args.read('abstract', values.abstractName) } : {};
  const endpoint: UnixClient = { type: 'unix', ...readParameters(unix, args, known) };
  if (endpoint.lockfile && endpoint.path.startsWith('\0'))
    throw args.conflict('lockfile', 'an abstract socket has no lock file');
  return endpoint;
}
