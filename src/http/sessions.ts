import http2 from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Server } from 'node:net';

/** The HTTP/2 sessions of one server. */
export type Sessions = {
  /** Ask the clients to go elsewhere, each when it costs it no request; sessions end when their streams have. */
  announceEnd(): void;
  /** Close sessions without a stream for so many milliseconds. */
  closeIdle(idleMs: number): void;
  /** Close all at once, and tell the clients which answers are not whole. */
  destroy(): void;
};

/**
 * Keep account of the HTTP/2 sessions of a server; of other servers there are none.
 *
 * A GOAWAY crosses the requests that are on their way to us, and refuses them. (A first one that
 * refuses nothing, as RFC 9113, 6.8 recommends, is of no use: nghttp2 ignores new streams after any
 * GOAWAY but its own shutdown notice, which Node does not offer.) So it is sent while a stream is open:
 * a client that asks one thing after the other then hears it before it asks again. One that asks many
 * things at a time may see REFUSED_STREAM, which says that the request was not looked at and may be repeated.
 */
export function watchSessions(server: Server): Sessions {
  const open = new Map<ServerHttp2Session, { streams: Set<ServerHttp2Stream>; idleSince: number }>();
  let isEnding = false;

  server.on('session', (session: ServerHttp2Session) => {
    open.set(session, { streams: new Set(), idleSince: performance.now() });
    session.once('close', () => open.delete(session));
  });
  server.prependListener('stream', (stream: ServerHttp2Stream) => {
    const session = stream.session as ServerHttp2Session | undefined;
    const account = session === undefined ? undefined : open.get(session);
    if (account === undefined) return;
    account.streams.add(stream);
    // Not before those have been heard that came together with this one.
    if (isEnding) setImmediate(() => session?.close());
    stream.once('close', () => {
      account.streams.delete(stream);
      account.idleSince = performance.now();
    });
  });

  return {
    destroy() {
      for (const [session, { streams }] of open) {
        // Without a word of its own a stream would end as if it were complete, when the session ends.
        for (const stream of streams) stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
        setImmediate(() => session.destroy());
      }
    },
    announceEnd() {
      isEnding = true;
      for (const [session, { streams }] of open) if (streams.size > 0) session.close();
    },
    closeIdle(idleMs) {
      const now = performance.now();
      for (const [session, { streams, idleSince }] of open)
        if (streams.size === 0 && now - idleSince >= idleMs) session.close();
    },
  };
}
