import http from 'node:http';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import tls, { TLSSocket } from 'node:tls';
import { watchConnections } from './connections.ts';
import type { Connection } from './connections.ts';
import { watchSessions } from './sessions.ts';

/** What is asked of open connections when the server ends. */
export type DrainOptions = {
  /** Milliseconds that a connection without a request stays open after its last one, see {@link ServeOptions.idleGrace}. */
  idleGrace: number;
  /** Called once for each connection whose protocol is not known here, so that the application can end it. */
  endConnection?: ((socket: Duplex, request: IncomingMessage | null) => void) | undefined;
};

/** How long the sessions that are closed by force have to tell their clients so. */
const LAST_WORDS_MS = 100;

/** A server whose connections are watched, so that it can be ended without failing a request. */
export type WatchedServer = {
  /** How many connections are open. */
  connections(): number;
  /** Stop accepting and let the connections finish; resolves when none is left. */
  drain(): Promise<void>;
  /** Close every connection now. */
  destroy(): void;
};

/** Watch a server. To be called before it listens. */
export function watchServer(server: Server, { idleGrace, endConnection }: DrainOptions): WatchedServer {
  const connections = watchConnections(server);
  const sessions = watchSessions(server);
  const isHttp2 = 'updateSettings' in server;
  const speaksHttp = isHttp2 || server instanceof http.Server || server instanceof https.Server;
  const hasIdle = speaksHttp || server instanceof tls.Server;
  const closeIdle = (): void => {
    sessions.closeIdle(idleGrace);
    const now = performance.now();
    for (const connection of speaksHttp ? connections.all.values() : []) {
      if (!(isHttp2 && isSession(connection)) && isIdle(connection) && now - connection.idleSince >= idleGrace)
        endSocket(connection);
    }
    // What has no connection above it by now is a TLS handshake that leads nowhere.
    if (connections.all.size === 0 && now - drainSince >= idleGrace)
      for (const socket of connections.sockets) socket.destroy();
  };
  let drainSince = 0;

  return {
    connections: () => connections.sockets.size,
    async drain() {
      // The application may have closed it itself.
      if (!server.listening && connections.sockets.size === 0) return;
      // Not events.once(), which also ends with an error of the server, that of a single connection for example.
      const closed = new Promise((resolve) => server.once('close', resolve));
      // Not the HTTP servers' own close(): it destroys a connection whose first request is under way.
      Server.prototype.close.call(server);
      drainSince = performance.now();
      connections.announceEnd();
      sessions.announceEnd();
      if (endConnection !== undefined) tellApplication(connections.all.values(), speaksHttp, endConnection);
      // A process that was not run for a while looks at its clock before it reads, and may find that a
      // connection has long been idle on which a request waits: so it reads first.
      const sweep = hasIdle ? setInterval(() => setImmediate(closeIdle), Math.max(5, idleGrace / 10)) : undefined;
      if (hasIdle) setTimeout(() => setImmediate(closeIdle));
      try {
        await closed;
      } finally {
        clearInterval(sweep);
      }
    },
    destroy() {
      sessions.destroy();
      const destroySockets = (): void => {
        for (const socket of connections.sockets) socket.destroy();
      };
      for (const connection of connections.all.values())
        if (!(isHttp2 && isSession(connection))) connection.socket.destroy();
      if (isHttp2) setTimeout(destroySockets, LAST_WORDS_MS).unref();
      else destroySockets();
    },
  };
}

/** On an HTTP/2 server: with TLS the client may have chosen HTTP/1, without it cannot. */
function isSession({ socket }: Connection): boolean {
  return !(socket instanceof TLSSocket) || socket.alpnProtocol === 'h2';
}

/** No request under way, not even one of which only the first bytes have come. */
function isIdle({ responses, upgrade, socket, bytesAtIdle }: Connection): boolean {
  return responses.size === 0 && upgrade === null && socket.bytesRead === bytesAtIdle;
}

/** What was written goes out first; then there is nothing to wait for. */
function endSocket({ socket }: Connection): void {
  if (socket.writableEnded) socket.destroy();
  else socket.end(() => socket.destroy());
}

function tellApplication(
  connections: Iterable<Connection>,
  speaksHttp: boolean,
  endConnection: NonNullable<DrainOptions['endConnection']>,
): void {
  for (const { upgrade, socket } of connections) {
    if (upgrade !== null) endConnection(upgrade.socket, upgrade.request);
    else if (!speaksHttp) endConnection(socket, null);
  }
}
