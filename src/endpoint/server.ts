import { familyOf } from './address.ts';
import { readWithHint } from './address-hint.ts';
import { matchArguments, type Reader, refusal } from './arguments.ts';
import { type Description, readDescription, unknownType } from './description.ts';
import { readServerExtras, readServerTlsExtras, serverExtraNames } from './extras.ts';
import type {
  BindableServer, FdServer, HaproxyServer, ServerEndpoint, SslServer, StdioServer, SystemdServer, TcpServer, TlsServer, UnixServer,
} from './model.ts';
import { asServer } from './other-side.ts';
import { expandShort } from './short.ts';
import { errorAt, type Piece, pieceOf } from './text.ts';
import { abstractName, backlog, bindAddress, defaultBacklog, descriptor, lockfile, mode, path, serverPort, socketPath } from './values.ts';
import { tlsMethodNames } from './versions.ts';

/**
 * What a server endpoint string says. Nothing is read, resolved or opened for it.
 * Throws EndpointError, which shows the place and, where colons were left unescaped, the right spelling.
 */
export function parseServer(text: string): ServerEndpoint {
  return readWithHint(text, (each) => readServer(longOrTyped(pieceOf(each))), asServer);
}

/** A short form is read as the long one that it stands for. */
function longOrTyped(source: Piece): Piece {
  return expandShort(source, 'server') ?? source;
}

function readServer(source: Piece): ServerEndpoint {
  const description = readDescription(source);
  if (description.kind === 'stdio') return readStdio(description);
  if (description.kind === 'haproxy') return readHaproxy(description);
  return readBindable(description);
}

function readBindable(description: Description): BindableServer {
  switch (description.kind) {
    case 'tcp':
    case 'tcp6':
      return readTcp(description.kind, description);
    case 'ssl':
      return readSsl(description);
    case 'tls':
      return readTls(description);
    case 'unix':
      return readUnix(description);
    case 'systemd':
      return readSystemd(description);
    case 'fd':
      return readFd(description);
    default:
      throw unknownType(description, 'the server types are tcp, tcp6, ssl, tls, unix, systemd, fd, stdio and haproxy');
  }
}

const needsTls = 'it is an argument of the types that speak TLS, ssl and tls';
const tlsOnly = { alpn: needsTls, sni: needsTls, clientCA: needsTls, privateKey: needsTls, certKey: needsTls };

function readTcp(type: 'tcp' | 'tcp6', description: Description): TcpServer {
  const args = matchArguments(description, {
    usage: `${type}:PORT[:interface=ADDRESS][:backlog=NUMBER]`,
    positional: type === 'tcp' ? ['port', 'interface', 'backlog'] : ['port', 'backlog', 'interface'],
    keywords: serverExtraNames,
    foreign: tlsOnly,
  });
  return {
    type,
    port: args.read('port', serverPort),
    interface: type === 'tcp' ? args.readOr('interface', bindAddress, '') : args.readOr('interface', ipv6Address, '::'),
    backlog: args.readOr('backlog', backlog, defaultBacklog),
    ...readServerExtras(args),
  };
}

const ipv6Address: Reader<string> = (value) => {
  const address = bindAddress(value);
  if (address === '' || familyOf(address) === 4) throw refusal(value, 'is not an IPv6 address', 'use tcp for IPv4');
  return address;
};

const sslmethod: Reader<string> = (value) => {
  if (tlsMethodNames.includes(value.text)) return value.text;
  throw refusal(value, 'is an unknown TLS method', `leave it out, or use one of ${tlsMethodNames.join(', ')}`);
};

function readSsl(description: Description): SslServer {
  const args = matchArguments(description, {
    usage: 'ssl:PORT[:privateKey=FILE][:certKey=FILE][:extraCertChain=FILE][:interface=ADDRESS]',
    positional: ['port', 'privateKey', 'certKey', 'sslmethod', 'interface', 'backlog', 'extraCertChain', 'dhParameters'],
    keywords: ['alpn', 'sni', 'clientCA', ...serverExtraNames],
  });
  const privateKey = args.readOr('privateKey', path, 'server.pem');
  const endpoint: SslServer = {
    type: 'ssl',
    port: args.read('port', serverPort),
    privateKey,
    certKey: args.readOr('certKey', path, privateKey),
    sslmethod: args.readOr('sslmethod', sslmethod, null),
    interface: args.readOr('interface', bindAddress, ''),
    backlog: args.readOr('backlog', backlog, defaultBacklog),
    extraCertChain: args.readOr('extraCertChain', path, null),
    dhParameters: args.readOr('dhParameters', path, null),
    ...readServerTlsExtras(args),
    ...readServerExtras(args),
  };
  if (args.has('sni')) endpoint.sni = args.read('sni', path);
  return endpoint;
}

function readTls(description: Description): TlsServer {
  const args = matchArguments(description, {
    usage: 'tls:DIRECTORY[:PORT][:interface=ADDRESS][:backlog=NUMBER]',
    positional: ['path', 'port', 'backlog', 'interface'],
    keywords: ['alpn', 'clientCA', ...serverExtraNames],
    foreign: {
      sni: 'the certificates of the directory are chosen by name anyway',
      privateKey: 'keys and certificates are found in the directory; ssl takes them by name',
      certKey: 'keys and certificates are found in the directory; ssl takes them by name',
    },
  });
  return {
    type: 'tls',
    path: args.read('path', path),
    port: args.readOr('port', serverPort, 443),
    backlog: args.readOr('backlog', backlog, defaultBacklog),
    interface: args.readOr('interface', bindAddress, '::'),
    ...readServerTlsExtras(args),
    ...readServerExtras(args),
  };
}

function readUnix(description: Description): UnixServer {
  const args = matchArguments(description, {
    usage: 'unix:PATH[:mode=660][:backlog=NUMBER][:lockfile=0]',
    positional: ['address', 'mode', 'backlog', 'lockfile'],
    keywords: ['abstract', ...serverExtraNames],
    aliases: { path: 'address' },
    foreign: tlsOnly,
  });
  if (args.has('abstract') && args.has('address')) throw args.conflict('abstract', 'a socket has a path or an abstract name, not both');
  const address = args.has('abstract') ? args.read('abstract', abstractName) : args.read('address', socketPath);
  const isAbstract = address.startsWith('\0');
  const endpoint: UnixServer = {
    type: 'unix',
    address,
    mode: args.readOr('mode', mode, '666'),
    backlog: args.readOr('backlog', backlog, defaultBacklog),
    lockfile: args.readOr('lockfile', lockfile, !isAbstract),
    ...readServerExtras(args),
  };
  if (isAbstract && args.has('mode')) throw args.conflict('mode', 'an abstract socket has no mode, for it is not a file');
  if (isAbstract && endpoint.lockfile) throw args.conflict('lockfile', 'an abstract socket has no lock file', 'leave lockfile out');
  return endpoint;
}

const domain: Reader<'INET' | 'INET6' | 'UNIX'> = (value) => {
  const family = (['INET', 'INET6', 'UNIX'] as const).find((name) => name === value.text.toUpperCase());
  if (family !== undefined) return family;
  // The likely slip: an index where the family stands.
  const hint = /^[0-9]+$/.test(value.text) ? `write systemd:index=${value.text}` : undefined;
  throw refusal(value, 'is an unknown family (use INET, INET6 or UNIX)', hint);
};

const socketName: Reader<string> = (value) => {
  // systemd.socket(5), FileDescriptorName=: the names come in one variable, separated by colons.
  if (!/^[\u0020-\u007e]{1,255}$/.test(value.text) || value.text.includes(':')) {
    throw refusal(value, 'cannot be the name of an inherited socket');
  }
  return value.text;
};

function readSystemd(description: Description): SystemdServer {
  const args = matchArguments(description, {
    usage: 'systemd:index=NUMBER or systemd:name=NAME, with domain=INET, INET6 or UNIX if you like',
    positional: ['domain', 'index', 'name'],
    keywords: serverExtraNames,
    foreign: tlsOnly,
  });
  if (args.has('index') && args.has('name')) throw args.conflict('name', 'a socket is chosen by index or by name, not both');
  const family = args.readOr('domain', domain, null);
  if (!args.has('index') && !args.has('name')) throw args.missing('index or name');
  return {
    type: 'systemd',
    domain: family,
    index: args.readOr('index', descriptor, null),
    name: args.readOr('name', socketName, null),
    ...readServerExtras(args),
  };
}

function readFd(description: Description): FdServer {
  const args = matchArguments(description, {
    usage: 'fd:NUMBER',
    positional: ['fd'],
    keywords: serverExtraNames,
    foreign: tlsOnly,
  });
  return { type: 'fd', fd: args.read('fd', descriptor), ...readServerExtras(args) };
}

function readStdio({ fields: [first, second] }: Description): StdioServer {
  if (first === undefined) return { type: 'stdio' };
  const isColonOnly = second === undefined && first.name === null && first.value.chars.length === 0;
  if (!isColonOnly) throw errorAt(first.name ?? first.value, 'too many arguments: stdio takes none', 'it is stdio:');
  return { type: 'stdio' };
}

/** The wrapped endpoint is the rest of the text as it is, without a level of quoting of its own. */
function readHaproxy({ rest }: Description): HaproxyServer {
  const wrapped = readDescription(rest);
  if (wrapped.kind === '') throw unknownType(wrapped, 'haproxy: goes before another endpoint, as in haproxy:tcp:9000');
  if (wrapped.kind === 'haproxy') throw errorAt(wrapped.type, 'haproxy cannot be nested');
  if (wrapped.kind === 'stdio') throw errorAt(wrapped.type, 'haproxy needs an endpoint that accepts connections, and stdio does not');
  const endpoint = readBindable(wrapped);
  if (endpoint.proxy !== undefined) {
    throw errorAt(wrapped.type, 'haproxy and proxy=accept say the same thing', 'leave one of them out');
  }
  return { type: 'haproxy', endpoint };
}
