import type { ServerHttp2Session } from 'node:http2';
import type { Server } from 'node:net';

export type Sessions = {
  readonly open: ReadonlySet<ServerHttp2Session>;
  /** Ask the clients of all sessions, also of those to come, to go elsewhere; sessions end when their streams have. */
  close(options: { patienceMs: number }): void;
};

/** The most that a stream's number can be: no stream is refused yet (RFC 9113, 6.8). */
const LAST_STREAM_OF_ALL = 2 ** 31 - 1;

/** Keep account of the HTTP/2 sessions of a server; of other servers there are none. */
export function watchSessions(server: Server): Sessions {
  const open = new Set<ServerHttp2Session>();
  let patience: number | null = null;
  server.on('session', (session: ServerHttp2Session) => {
    open.add(session);
    session.once('close', () => open.delete(session));
    if (patience !== null) closeSession(session, patience);
  });
  return {
    open,
    close({ patienceMs }) {
      patience = patienceMs;
      for (const session of open) closeSession(session, patienceMs);
    },
  };
}

/**
 * The graceful shutdown of RFC 9113, 6.8: first a GOAWAY that refuses nothing; when the client has
 * answered the PING after it, it knows, and all that it sent before has come; then the final one.
 */
function closeSession(session: ServerHttp2Session, patienceMs: number): void {
  let isClosing = false;
  const close = (): void => {
    clearTimeout(timer);
    if (isClosing || session.destroyed) return;
    isClosing = true;
    session.close();
  };
  const timer = setTimeout(close, patienceMs);
  timer.unref();
  session.once('close', () => clearTimeout(timer));
  try {
    session.goaway(0, LAST_STREAM_OF_ALL);
    if (!session.ping(close)) close();
  } catch {
    // It is being destroyed, or has been closed by the application.
    close();
  }
}
