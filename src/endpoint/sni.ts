/**
 * `sni:NAME=DST:…`: which destination gets a client of TLS that is not ended here. The names of its arguments are those that
 * clients ask for; `default` is the destination of all others. A name may be followed by `+` and a protocol of ALPN, and
 * several that lead to one destination stand before it with commas between them.
 */
import { isIP } from 'node:net';
import { hostProblem, wholeName, withoutBrackets } from './address.ts';
import type { Description } from './description.ts';
import { quoted } from './error.ts';
import type { EndpointError } from './error.ts';
import { clientExtras, clientTlsExtras } from './extras.ts';
import type { DirectClient, SniClient, SniRoute } from './model.ts';
import type { Explanation } from './parameter.ts';
import { errorAt, escaped, sliceOf, textOf } from './text.ts';
import type { Field, Piece } from './text.ts';

/** How it is written, for hints. */
const usage = 'sni:NAME=DST[:*.DOMAIN=DST][:NAME+PROTOCOL=DST][:default=DST], the colons of each DST escaped';
/** The argument that names no name. */
const DEFAULT = 'default';
/** What belongs to each of the destinations, and not to all of them together: so no client is taken to ask for such a name. */
const ofDestinations = new Set(['timeout', 'bindAddress', ...Object.keys({ ...clientExtras, ...clientTlsExtras })]);

/** Read the arguments of one; `readDestination` reads a destination. Throws EndpointError. */
export function readSni(description: Description, readDestination: (piece: Piece) => DirectClient): SniClient {
  const routes: SniRoute[] = [];
  let fallback: DirectClient | null = null;
  for (const { name, value } of description.fields) {
    if (name === null) throw errorAt(value, `${quoted(textOf(value))} has no name before it`, `it is ${usage}`);
    if (textOf(name) === DEFAULT) {
      if (fallback !== null) throw errorAt(name, 'duplicate argument: default is given twice');
      fallback = readDestination(value);
      continue;
    }
    if (ofDestinations.has(textOf(name)))
      throw errorAt(
        name,
        `${quoted(textOf(name))} belongs to a destination, whose colons are escaped`,
        `it is ${usage}`,
      );
    const patterns = patternsOf(name);
    const endpoint = readDestination(value);
    for (const pattern of patterns) {
      if (routes.some((each) => each.name === pattern.name && each.alpn === pattern.alpn))
        throw errorAt(name, `duplicate argument: ${patternText(pattern)} is given twice`);
      routes.push({ ...pattern, endpoint });
    }
  }
  const { rest } = description;
  if (routes.length === 0)
    throw errorAt(sliceOf(rest, rest.chars.length), 'missing argument: a name', `it is ${usage}`);
  return { type: 'sni', routes, default: fallback };
}

/** The destinations of one with what says who goes there; the one for all others last. */
export function sniWays({ routes, default: fallback }: SniClient): { pattern: string; endpoint: DirectClient }[] {
  const ways = routes.map((route) => ({ pattern: patternText(route), endpoint: route.endpoint }));
  return fallback === null ? ways : [...ways, { pattern: DEFAULT, endpoint: fallback }];
}

/** As grace would write it; `print` writes a destination. */
export function printSni(sni: SniClient, print: (endpoint: DirectClient) => string): string {
  const ways = sniWays(sni).map(({ pattern, endpoint }) => `${escaped(pattern)}=${escaped(print(endpoint))}`);
  return ['sni', ...ways].join(':');
}

/** Each route in plain words. */
export function explainSni(sni: SniClient, print: (endpoint: DirectClient) => string): Explanation[] {
  const { routes, default: fallback } = sni;
  return [
    { name: 'type', value: 'sni', meaning: 'TLS of clients as it is, to a destination by the name that they ask for' },
    ...routes.map((route) => ({ name: patternText(route), value: print(route.endpoint), meaning: meaningOf(route) })),
    {
      name: DEFAULT,
      value: fallback === null ? '-' : print(fallback),
      meaning: fallback === null ? 'any other client is refused' : 'for any other client, with or without TLS',
    },
  ];
}

/** What makes two of them the same: their order has no meaning. */
export function sniMeaning(sni: SniClient, meaningOf: (endpoint: DirectClient) => object): object {
  const ways = sniWays(sni).map(({ pattern, endpoint }): [string, object] => [pattern, meaningOf(endpoint)]);
  return { type: 'sni', ways: ways.sort(([a], [b]) => (a < b ? -1 : 1)) };
}

/** `example.com`, `*.example.com+h2` */
function patternText({ name, alpn }: Pattern): string {
  return alpn === null ? name : `${name}+${alpn}`;
}

function meaningOf({ name, alpn }: SniRoute): string {
  const who = name === '*' ? 'any name' : name.startsWith('*.') ? `a name of one part before ${name.slice(1)}` : 'it';
  return `for clients that ask for ${who}${alpn === null ? '' : ` and offer ${alpn}`}`;
}

type Pattern = Pick<SniRoute, 'name' | 'alpn'>;

function patternsOf(piece: Piece): Pattern[] {
  return textOf(piece)
    .split(',')
    .map((text) => {
      const [, host = '', alpn = null] = /^([^+]*)(?:\+(.*))?$/s.exec(text) ?? [];
      const rest = host.startsWith('*.') ? host.slice(2) : host;
      const problem = host === '*' ? null : nameProblem(rest);
      if (problem !== null) throw badName(piece, text, problem);
      if (alpn !== null && (alpn === '' || new TextEncoder().encode(alpn).length > 255))
        throw errorAt(piece, `${quoted(text)} names no protocol after the +`, 'write NAME+h2, or NAME alone for any');
      return { name: host === '*' ? '*' : `${host === rest ? '' : '*.'}${wholeName(rest)}`, alpn };
    });
}

function nameProblem(host: string): string | null {
  if (host === DEFAULT) return 'default is for all others; * stands for any name';
  // RFC 6066 section 3: a name that is asked for is that of a host.
  return isIP(withoutBrackets(host)) === 0
    ? hostProblem(host)
    : 'who goes to an address asks for no name: default is for them';
}

function badName(piece: Piece, text: string, problem: string): EndpointError {
  const hint = text.includes('*') ? '* stands for the first part of a name alone: *.example.com' : `it is ${usage}`;
  return errorAt(piece, `${quoted(text)} is no name that a client can ask for: ${problem}`, hint);
}

/** One whose destinations have colons that were not escaped, with these escaped; null where it is none, or there is nothing to escape. */
export function escapedWays(chars: readonly string[], [type, ...fields]: readonly [Field, ...Field[]]): string | null {
  if (type.name !== null || textOf(type.value).toLowerCase() !== 'sni') return null;
  const parts: { head: string; raw: string; count: number }[] = [];
  let from = type.end + 1;
  for (const { name, valueStart, end } of fields) {
    const last = parts.at(-1);
    const raw = chars.slice(valueStart, end).join('');
    if (!last || (name !== null && !ofDestinations.has(textOf(name))))
      parts.push({ head: chars.slice(from, valueStart).join(''), raw, count: 1 });
    else {
      last.raw += `:${chars.slice(from, end).join('')}`;
      last.count++;
    }
    from = end + 1;
  }
  if (parts.every(({ count }) => count === 1)) return null;
  return ['sni', ...parts.map(({ head, raw, count }) => head + (count === 1 ? raw : escaped(raw)))].join(':');
}
