import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import tls from 'node:tls';
import type { Duplex } from 'node:stream';

/** One connection of a server, above TLS. */
export type Connection = {
  readonly socket: Socket;
  /** HTTP/1 requests that are not answered to the end, in the order in which they are answered. */
  readonly responses: Set<ServerResponse>;
  /** The answer that was made to say that it is the last. */
  last: ServerResponse | null;
  /** The request that turned the connection into something else (Upgrade, CONNECT). */
  upgrade: { request: IncomingMessage; socket: Duplex } | null;
  /** When and how far it was read when it last became idle, or was accepted (milliseconds, bytes). */
  idleSince: number;
  bytesAtIdle: number;
};

/** What is open on one server. */
export type Connections = {
  readonly all: ReadonlyMap<Duplex, Connection>;
  /** Sockets below TLS, those in the handshake included; for a server without TLS the connections' own. */
  readonly sockets: ReadonlySet<Socket>;
  /** From now on every answer that can still say so says that it is the last on its connection. */
  announceEnd(): void;
};

/** Keep account of a server's connections and of what goes on in them. Attach it before the server listens. */
export function watchConnections(server: Server): Connections {
  const sockets = new Set<Socket>();
  const all = new Map<Duplex, Connection>();
  let isEnding = false;

  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on(server instanceof tls.Server ? 'secureConnection' : 'connection', (socket: Socket) => {
    all.set(socket, {
      socket,
      responses: new Set(),
      last: null,
      upgrade: null,
      idleSince: performance.now(),
      bytesAtIdle: socket.bytesRead,
    });
    socket.once('close', () => all.delete(socket));
  });

  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    // Requests of HTTP/2 have a stand-in for their socket; their session looks after them.
    const connection = all.get(request.socket);
    if (connection === undefined) return;
    connection.responses.add(response);
    if (isEnding) {
      announceLast(connection);
      keepAfterAnswer(server, response);
    }
    response.once('close', () => {
      connection.responses.delete(response);
      connection.idleSince = performance.now();
      connection.bytesAtIdle = connection.socket.bytesRead;
    });
  };
  const onUpgrade = (request: IncomingMessage, socket: Duplex): void => {
    const connection = all.get(socket);
    if (connection !== undefined) connection.upgrade = { request, socket };
  };
  emitAfter(server, ['upgrade', 'connect'], (emit, ...args: Parameters<typeof onUpgrade>) => {
    onUpgrade(...args);
    emit();
  });
  emitAfter(server, ['request', 'checkContinue', 'checkExpectation'], (emit, ...args: Parameters<typeof onRequest>) => {
    const [request] = args;
    // Behind an answer that says that it is the last: it is not answered, so it must not have been carried out.
    if (isEnding && hasSaidLast(all.get(request.socket))) return void request.resume();
    onRequest(...args);
    // One that is answered at once would say that it is the last before those are heard that came with it,
    // all of which the parser emits in one go.
    if (isEnding && all.has(request.socket)) process.nextTick(emit);
    else emit();
  });

  return {
    all,
    sockets,
    announceEnd() {
      isEnding = true;
      for (const connection of all.values()) {
        announceLast(connection);
        for (const response of connection.responses) keepAfterAnswer(server, response);
      }
    },
  };
}

/**
 * Deno's server, once it listens no more, cuts a connection off behind any answer, one too that did not say that
 * it is the last (seen in 2.9); the client's next request is lost then. At that moment it shall find that it listens.
 */
function keepAfterAnswer(server: Server, response: ServerResponse): void {
  if (!('Deno' in globalThis)) return;
  response.prependListener('finish', () =>
    Object.defineProperty(server, 'listening', { value: true, configurable: true }),
  );
  response.on('finish', () => Reflect.deleteProperty(server, 'listening'));
}

/**
 * Of the requests that a client has sent one after the other without waiting (RFC 9112, 9.3.2), only the last may be
 * answered with `Connection: close`: after that answer the server ends the connection, and what it has of
 * later ones is lost. If that one is on its way already, the connection ends when it has been idle.
 */
function announceLast(connection: Connection): void {
  const newest = [...connection.responses].at(-1);
  if (newest === undefined || newest === connection.last) return;
  if (connection.last?.headersSent === false) connection.last.removeHeader('Connection');
  connection.last = newest.headersSent ? null : newest;
  connection.last?.setHeader('Connection', 'close');
  // Not with TLS: a client of node:tls that wrote at that moment never ended (seen in Node 26.10).
  if (!(connection.socket instanceof tls.TLSSocket)) connection.socket.destroySoon = () => linger(connection.socket);
}

/** Whether an answer that says that it is the last is on its way. */
function hasSaidLast(connection: Connection | undefined): boolean {
  const last = connection?.last;
  return last?.headersSent === true && /close/i.test(String(last.getHeader('Connection')));
}

/** Longest that a client may go on sending behind its last answer, in milliseconds. */
const LINGER_MS = 1000;

/**
 * End a connection in the place of the runtime, which closes it: a client that has sent further requests is then
 * reset by the kernel, and loses answers that it has not read yet. So those are read, and not looked at, until it
 * ends too (RFC 9112, 9.6).
 */
function linger(socket: Socket): void {
  socket.removeAllListeners('data').on('data', () => {});
  socket.end();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}

/**
 * Hear events before the application does, and decide when it hears them. Only those that the server emits: a
 * listener of ours for `upgrade` or `checkContinue` would say that somebody deals with them.
 */
function emitAfter<A extends unknown[]>(
  server: Server,
  events: readonly string[],
  hear: (emit: () => void, ...args: A) => void,
): void {
  const emit: (event: string | symbol, ...args: unknown[]) => boolean = server.emit;
  server.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    const pass = (): boolean => Reflect.apply(emit, server, [event, ...args]);
    if (typeof event !== 'string' || !events.includes(event)) return pass();
    hear(pass, ...(args as A));
    return true;
  };
}
