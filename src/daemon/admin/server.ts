/**
 * HTTP for few and patient clients: one request a connection, a limit for how many there are and for how long each
 * may take. The socket is the daemon's; accepting on it can end without anybody being refused.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { hasToken, isOwnHost } from './guard.ts';
import { textOf } from './answer.ts';
import type { Answer, Routes } from './answer.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { checkedClientsOf } from '../../engine/portable/checked-clients.ts';
import type { CheckedClients } from '../../engine/portable/checked-clients.ts';
import { openAcceptor } from '../../net/acceptor.ts';
import type { Listener } from '../../net/listener.ts';

/** Most connections at once: of those that have not asked anything, the oldest goes for another. */
const maxConnections = 64;

/** How long a connection may take from its accept to its end, in milliseconds. */
const connectionMs = 10_000;

/** What is served, to whom. */
export type ServerOptions = {
  listener: Listener;
  routes: Routes;
  /** Null: plain HTTP. */
  tls: TlsOptions | null;
  /** What has to be sent; null: nothing. */
  token: string | null;
  /** Only requests that name this machine as their host are answered. */
  isHostChecked: boolean;
  onError: (error: unknown) => void;
};

/** A server on the daemon's socket. */
export type AdminServer = {
  /** Clients that come from now on meet this certificate and this token. */
  renew(options: Pick<ServerOptions, 'tls' | 'token'>): void;
  /** Accept nobody any more; who was accepted is answered. The listener stays open. Resolves when all have been. */
  close(): Promise<void>;
};

/** Accept and answer, until it is closed. */
export function serveHttp(options: ServerOptions): AdminServer {
  const { listener, onError } = options;
  let { token } = options;
  const open = new Set<Socket>();
  /** Those that have not asked yet, the oldest first. */
  const silent = new Set<Socket>();
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    forget(silent, request.socket);
    void respond(request, response, { ...options, token }).catch(onError);
  };
  let clients: CheckedClients | null = null;
  const openServer = (tls: TlsOptions | null): Server => {
    if (tls === null) return http.createServer(handle);
    const secure = https.createServer({ ...tls, ALPNProtocols: ['http/1.1'] }, handle);
    const checked = checkedClientsOf(tls, clients);
    clients = checked;
    // Before HTTP is spoken.
    if (checked !== null)
      secure.prependListener('secureConnection', (socket) => void (checked.admit(socket) || socket.destroy()));
    return secure;
  };
  let server = openServer(options.tls);
  const accepted = (socket: Socket) => {
    const timer = setTimeout(() => socket.destroy(), connectionMs).unref();
    open.add(socket);
    silent.add(socket);
    socket.on('error', () => {}); // it is gone; 'close' tells
    socket.once('close', () => {
      clearTimeout(timer);
      open.delete(socket);
      silent.delete(socket);
    });
    if (open.size > maxConnections) (silent.values().next().value ?? socket).destroy();
    if (!socket.destroyed) server.emit('connection', socket);
  };
  const acceptor = openAcceptor({ listener, accepted, failed: onError, noDelay: true, isAside: true });
  return {
    renew(renewed) {
      ({ token } = renewed);
      server = openServer(renewed.tls);
    },
    async close() {
      await acceptor.close();
      await Promise.all([...open].map((socket) => once(socket, 'close')));
    },
  };
}

/** Of a TLS connection it is known by its addresses alone which accepted socket is under it. */
function forget(silent: Set<Socket>, socket: Socket): void {
  if (silent.delete(socket)) return;
  for (const each of silent)
    if (each.remotePort === socket.remotePort && each.remoteAddress === socket.remoteAddress) silent.delete(each);
}

type RespondOptions = Pick<ServerOptions, 'routes' | 'token' | 'isHostChecked' | 'onError'>;

async function respond(request: IncomingMessage, response: ServerResponse, options: RespondOptions): Promise<void> {
  request.resume(); // what it may have for a body is of no interest
  const gone = new AbortController();
  response.once('close', () => gone.abort(new GraceError('the client went away')));
  const { status, type, body, headers } = await answerTo(request, options, gone.signal).catch((error: unknown) => {
    if (!(error instanceof GraceError)) options.onError(error);
    return textOf(503, error instanceof GraceError ? errorMessage(error) : 'internal error');
  });
  if (response.destroyed) return;
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    // One that is kept open would be cut by a restart just when it asks again.
    Connection: 'close',
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function answerTo(
  { method, url = '', headers }: IncomingMessage,
  { routes, token, isHostChecked }: RespondOptions,
  signal: AbortSignal,
): Promise<Answer> {
  if (isHostChecked && !isOwnHost(headers.host))
    return textOf(421, 'this address answers to localhost, 127.0.0.1 and [::1] alone: see the header Host');
  if (method !== 'GET' && method !== 'HEAD')
    return textOf(405, 'only GET and HEAD: nothing is changed here', { Allow: 'GET, HEAD' });
  const route = routes.get(url.replace(/\?.*$/s, ''));
  const isTrusted = token === null || hasToken(headers.authorization, token);
  if (!isTrusted && !route?.isOpen)
    return textOf(401, 'send the token of --admin-token: Authorization: Bearer TOKEN', {
      'WWW-Authenticate': 'Bearer realm="grace"',
    });
  if (!route) return textOf(404, `there is no such path; there are ${[...routes.keys()].join(', ')}`);
  return await route.answer({ isTrusted, signal });
}
