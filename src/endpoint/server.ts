import { readWithHint } from './address-hint.ts';
import type { Arguments } from './arguments.ts';
import { readDescription, unknownType } from './description.ts';
import type { Description } from './description.ts';
import type {
  BindableServer,
  HaproxyServer,
  ServerEndpoint,
  SslServer,
  StdioServer,
  SystemdServer,
  TlsServer,
  UnixServer,
} from './model.ts';
import { asServer, hintForHost } from './other-side.ts';
import { argumentsOf, readParameters } from './parameter.ts';
import { serverShapes } from './server-shapes.ts';
import { expandShort } from './short.ts';
import { errorAt, pieceOf, textOf } from './text.ts';
import type { Piece } from './text.ts';
import { abstractName } from './values.ts';
import { tlsVersions } from './versions.ts';

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
  const hint = hintForHost(textOf(source), 'server');
  if (hint !== null) throw unknownType(description, hint);
  if (description.kind === 'stdio') return readStdio(description);
  if (description.kind === 'haproxy') return readHaproxy(description);
  const endpoint = readBindable(description);
  const aboutHeaders = (['proxyFrom', 'headerTimeout'] as const).find((name) => endpoint[name] !== undefined);
  if (aboutHeaders !== undefined && endpoint.proxy === undefined) {
    throw errorAt(
      description.type,
      `${aboutHeaders} is about PROXY headers, and none is expected here`,
      'add proxy=accept, or put haproxy: before it',
    );
  }
  const list = (['allow', 'deny'] as const).find((name) => name in endpoint);
  if (list !== undefined && endpoint.type === 'unix' && endpoint.proxy === undefined)
    throw errorAt(
      description.type,
      `${list} is about addresses, which clients of a Unix socket have none of`,
      'set its mode, such as mode=660',
    );
  return endpoint;
}

function readBindable(description: Description): BindableServer {
  const { tcp, tcp6, ssl, tls, fd } = serverShapes;
  switch (description.kind) {
    case 'tcp':
      return { type: 'tcp', ...readParameters(tcp, argumentsOf(tcp, description)) };
    case 'tcp6':
      return { type: 'tcp6', ...readParameters(tcp6, argumentsOf(tcp6, description)) };
    case 'ssl': {
      const args = argumentsOf(ssl, description);
      const endpoint: SslServer = { type: 'ssl', ...readParameters(ssl, args) };
      if (endpoint.minTLS === '1.3' && tlsVersions(endpoint.sslmethod).maxVersion !== undefined)
        throw args.conflict('minTLS', `minTLS=1.3 and sslmethod=${endpoint.sslmethod} leave no version of TLS`);
      mustHaveAuthority(endpoint, args);
      return endpoint;
    }
    case 'tls': {
      const args = argumentsOf(tls, description);
      const endpoint: TlsServer = { type: 'tls', ...readParameters(tls, args) };
      mustHaveAuthority(endpoint, args);
      return endpoint;
    }
    case 'unix':
      return readUnix(description);
    case 'systemd':
      return readSystemd(description);
    case 'fd':
      return { type: 'fd', ...readParameters(fd, argumentsOf(fd, description)) };
    default:
      throw unknownType(description, 'the server types are tcp, tcp6, ssl, tls, unix, systemd, fd, stdio and haproxy');
  }
}

function mustHaveAuthority({ clientAuth, clientCA }: SslServer | TlsServer, args: Arguments<string>): void {
  if (clientAuth !== undefined && clientCA === undefined)
    throw args.conflict(
      'clientAuth',
      'missing argument: clientCA, which says whose certificates are taken',
      'add clientCA=FILE',
    );
}

function readUnix(description: Description): UnixServer {
  const { unix } = serverShapes;
  const args = argumentsOf(unix, description);
  if (args.has('abstract') && args.has('address'))
    throw args.conflict('abstract', 'a socket has a path or an abstract name, not both');
  const known = args.has('abstract') ? { address: args.read('abstract', abstractName) } : {};
  const endpoint: UnixServer = { type: 'unix', ...readParameters(unix, args, known) };
  const isAbstract = endpoint.address.startsWith('\0');
  if (isAbstract && args.has('mode'))
    throw args.conflict('mode', 'an abstract socket has no mode, for it is not a file');
  if (isAbstract && endpoint.lockfile)
    throw args.conflict('lockfile', 'an abstract socket has no lock file', 'leave lockfile out');
  return endpoint;
}

function readSystemd(description: Description): SystemdServer {
  const { systemd } = serverShapes;
  const args = argumentsOf(systemd, description);
  if (args.has('index') && args.has('name'))
    throw args.conflict('name', 'a socket is chosen by index or by name, not both');
  const endpoint: SystemdServer = { type: 'systemd', ...readParameters(systemd, args) };
  if (endpoint.index === null && endpoint.name === null) throw args.missing('index or name');
  return endpoint;
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
  if (/^[0-9]+$/.test(wrapped.kind)) throw unknownType(wrapped, `write haproxy:tcp:${wrapped.kind}`);
  if (wrapped.kind === '') throw unknownType(wrapped, 'haproxy: goes before another endpoint, as in haproxy:tcp:9000');
  if (wrapped.kind === 'haproxy') throw errorAt(wrapped.type, 'haproxy cannot be nested');
  if (wrapped.kind === 'stdio')
    throw errorAt(wrapped.type, 'haproxy needs an endpoint that accepts connections, and stdio does not');
  const endpoint = readBindable(wrapped);
  if (endpoint.proxy !== undefined) {
    throw errorAt(wrapped.type, 'haproxy and proxy=accept say the same thing', 'leave one of them out');
  }
  return { type: 'haproxy', endpoint };
}
