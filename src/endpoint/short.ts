/**
 * Short forms of endpoints, as people type them: `8080`, `:8080`, `127.0.0.1:8080`, `host:9001`,
 * `/run/app.sock`, `tls://host:443`. Each stands for exactly one endpoint string, the long form, with
 * whose meaning it is read. Parameters may follow by name: `8080:maxconn=100`.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { hostProblem } from './address.ts';
import { errorAt, type Piece, pieceOf, sliceOf, splitFields, textOf } from './text.ts';

/**
 * What an endpoint is for: `server` is SRC, `client` is DST. The same word means different things on either
 * side.
 */
export type Side = 'server' | 'client';

/** Every word that is a type on either side, and so is no host. */
const typeNames: ReadonlySet<string> = new Set([
  'tcp',
  'tcp6',
  'ssl',
  'tls',
  'unix',
  'systemd',
  'fd',
  'stdio',
  'haproxy',
  'srv',
  'sni',
]);

/** Whether a word before a colon names a type, in whatever case. */
export function isTypeName(word: string): boolean {
  return typeNames.has(word.toLowerCase());
}

/** The long form of a short one; null for what is none. Throws EndpointError for what can be read in two ways. */
export function longForm(text: string, side: Side): string | null {
  const long = expandShort(pieceOf(text), side);
  return long === null ? null : textOf(long);
}

/** As {@link longForm}; its characters know where they stand in what was typed. */
export function expandShort(source: Piece, side: Side): Piece | null {
  const text = textOf(source);
  if (/^\.{0,2}\//.test(text)) return expandPath(source);
  const { scheme, rest } = readScheme(source, side);
  const taken = takeHost(rest, side);
  if (taken === null) {
    if (scheme !== null) throw errorAt(source, 'missing port', `write ${scheme}://HOST:PORT`);
    return null;
  }
  const { host, port, parameters } = taken;
  const type = scheme ?? 'tcp';
  if (side === 'client') return join(source, [`${type}:`, host === null ? '127.0.0.1' : host, ':', port, parameters]);
  return join(source, [`${type}:`, port, ...(host === null ? [] : [':interface=', host]), parameters]);
}

type Scheme = { scheme: 'tcp' | 'tls' | null; rest: Piece };

function readScheme(source: Piece, side: Side): Scheme {
  const [, word, rest] = /^([a-z0-9]+):\/\/(.*)$/is.exec(textOf(source)) ?? [];
  if (word === undefined || rest === undefined) return { scheme: null, rest: source };
  const scheme = word.toLowerCase();
  if (scheme === 'tcp' || (scheme === 'tls' && side === 'client'))
    return { scheme, rest: sliceOf(source, word.length + 3) };
  // For a server, "tls://" names the directory "//" and so on: it is an endpoint as it stands.
  if (scheme === 'http' || scheme === 'https') {
    const [name = '', port = scheme === 'http' ? '80' : '443'] = (rest.split('/')[0] ?? '').split(/:(?=[0-9]*$)/);
    const wanted = side === 'server' ? `:${port}` : `${scheme === 'http' ? 'tcp' : 'tls'}://${name}:${port}`;
    throw errorAt(
      sliceOf(source, 0, word.length),
      `unknown type "${word}"`,
      `connections are forwarded, whatever is spoken in them: write '${wanted}'`,
    );
  }
  return { scheme: null, rest: source };
}

type Taken = { host: Piece | null; port: Piece; parameters: Piece };

/** The parts of `PORT`, `:PORT` or `HOST:PORT`; null for anything else. */
function takeHost(source: Piece, side: Side): Taken | null {
  const text = textOf(source);
  const [, before = '', host = '', port, tail = ''] =
    /^((\[[^\]\\]*\]|[^:=\\[\]]+)?:)?([0-9]+)((?::.*)?)$/s.exec(text) ?? [];
  refuseBareIPv6(source, text);
  if (port === undefined) return null;
  if (isTypeName(host) || (host !== '' && !isHost(host, side))) return null;
  if (!hasNamesOnly(tail)) return null;
  const portStart = before.length;
  return {
    host: host === '' ? null : sliceOf(source, 0, host.length),
    port: sliceOf(source, portStart, portStart + port.length),
    parameters: sliceOf(source, portStart + port.length),
  };
}

/** A server listens on an address of this machine; another name there is more likely meant otherwise. */
function isHost(host: string, side: Side): boolean {
  if (host.startsWith('[')) return isIPv6(host.slice(1, -1));
  if (side === 'server') return isIPv4(host) || host.toLowerCase() === 'localhost';
  return !/^[0-9]+$/.test(host) && hostProblem(host) === null;
}

/** Length of the longest IPv6 address with a port behind it, in characters. */
const maxBareIPv6 = 45 + 6;

/** Whether the port of `::1:8080` is a part of the address cannot be told. */
function refuseBareIPv6(source: Piece, text: string): void {
  if (text.length > maxBareIPv6 || !/^[0-9a-f:.]*$/i.test(text) || text.split(':').length < 3) return;
  const [, address = '', port = ''] = /^(.*):([0-9]{1,5})$/s.exec(text) ?? [];
  if (isIPv6(address)) {
    const other = isIPv6(text) ? `; for the address ${text} write '[${text}]:PORT'` : '';
    throw errorAt(
      source,
      'it can be read in two ways',
      `for port ${port} of the address ${address} write '[${address}]:${port}'${other}`,
    );
  }
  if (isIPv6(text)) throw errorAt(source, 'missing port', `write '[${text}]:PORT'`);
}

function hasNamesOnly(tail: string): boolean {
  if (tail === '') return true;
  return splitFields(pieceOf(tail.slice(1))).every(({ name }) => name !== null);
}

function expandPath(source: Piece): Piece {
  const text = textOf(source);
  const [first, ...fields] = splitFields(source);
  if (fields.some(({ name }) => name === null)) {
    const spelled = text.replace(/(?<!\\):/g, '\\:');
    throw errorAt(
      source,
      'it can be read in two ways',
      `for the path write 'unix:${spelled}'; for a socket with parameters write 'unix:${text}'`,
    );
  }
  const isNamed = first.name !== null;
  // Nothing before a "=" is a parameter here: it is the path.
  const head = isNamed
    ? [sliceOf(source, 0, first.valueStart - 1), '\\=', sliceOf(source, first.valueStart, first.end)]
    : [sliceOf(source, 0, first.end)];
  return join(source, ['unix:', ...head, sliceOf(source, first.end)]);
}

/** Pieces of what was typed with words between them, which stand where the next piece does. */
function join(source: Piece, parts: readonly (string | Piece)[]): Piece {
  const chars: string[] = [];
  const origins: number[] = [];
  const end = source.origins.at(-1) ?? 0;
  for (const [index, part] of parts.entries()) {
    if (typeof part !== 'string') {
      chars.push(...part.chars);
      origins.push(...part.origins.slice(0, part.chars.length));
      continue;
    }
    const next = parts.slice(index + 1).find((each) => typeof each !== 'string' && each.chars.length > 0);
    const at = typeof next === 'object' ? (next.origins[0] ?? end) : end;
    chars.push(...Array.from(part));
    origins.push(...Array.from(part, () => at));
  }
  return { whole: source.whole, chars, origins: [...origins, end] };
}
