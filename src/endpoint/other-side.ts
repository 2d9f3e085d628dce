/** How people write an endpoint of one side as they would on the other, and how it is written there. */
import { isIP } from 'node:net';
import { hostProblem } from './address.ts';
import { isTypeName } from './short.ts';

/** `tcp:127.0.0.1:8080` as a source: where it listens comes after the port. */
export function asServer(text: string): string | null {
  const [, type = 'tcp', host, port, rest = ''] =
    /^(?:(tcp):)?(\[[^\]]*\]|[^:=\\/]+):([0-9]+)((?::[^:=]+=.*)?)$/is.exec(text) ?? [];
  if (
    host === undefined ||
    isTypeName(host) ||
    /^[0-9]+$/.test(host) ||
    (isIP(host) + isIP(host.slice(1, -1)) === 0 && hostProblem(host) !== null)
  )
    return null;
  return `${type}:${port}:interface=${host}${rest}`;
}

/** `tcp:9001` as a destination: the host is missing. A name alone has no port. */
export function asClient(text: string): string | null {
  const [, port, rest = ''] = /^tcp:(?:port=)?([0-9]+)((?::(?!interface=)[^:=]+=.*)?)$/is.exec(text) ?? [];
  if (port !== undefined) return `tcp:127.0.0.1:${port}${rest}`;
  const [, turned, host] = /^tcp:([0-9]+):interface=([^:]+|\[[^\]]*\])$/is.exec(text) ?? [];
  if (turned !== undefined) return `tcp:${host}:${turned}`;
  const [, typed, number] = /^(systemd|stdio|haproxy|fd|tcp6|srv|sni):([0-9]+)$/is.exec(text) ?? [];
  return typed === undefined ? null : `tcp:${typed}:${number}`;
}

/** What to say of a word that is a name of a host and nothing else: the port is missing, or on the side of a source, a host is none. */
export function hintForHost(word: string, side: 'server' | 'client'): string | null {
  const isHost =
    isIP(word) !== 0 ||
    word.toLowerCase() === 'localhost' ||
    (word.includes('.') && !word.includes('/') && hostProblem(word) === null);
  if (!isHost) return null;
  return side === 'client'
    ? `the port is missing: '${word}:80' for HTTP, 'tls://${word}:443' for HTTPS`
    : `where to listen is a port or a path, as in '8080', '127.0.0.1:8080' or '/run/app.sock'`;
}
