import net from 'node:net';
import type { Socket } from 'node:net';
import { DenoUnixAcceptor } from './deno-unix.ts';
import type { Listener } from './listener.ts';

/** Where to accept, and who gets the clients. */
export type AcceptorOptions = {
  listener: Listener;
  /** Gets every client, until `close` has resolved. Each of its directions ends on its own. */
  accepted: (client: Socket) => void;
  /** What is wrong with the listener, or with accepting for the moment. */
  failed: (error: Error) => void;
  /** Clients are paused until whoever gets them reads. Default: false */
  isPaused?: boolean;
  /** Small writes go out at once (TCP_NODELAY). Default: false */
  noDelay?: boolean;
  /** The process may end while it accepts. Default: false */
  isAside?: boolean;
  /** Called when clients are accepted. */
  opened?: () => void;
};

/** Accepts on a duplicate of a listener's descriptor, and lets go of it when closed. */
export type Acceptor = { close(): Promise<void> };

/**
 * Start accepting. A runtime cannot stop accepting on a socket and go on later, so a pause is a close:
 * what waits in the queue stays there, as the listener itself is still open.
 */
export function openAcceptor(options: AcceptorOptions): Acceptor {
  const { listener, accepted, failed, isPaused = false, noDelay = false, isAside = false, opened } = options;
  if ('Deno' in globalThis && listener.address.family === 'unix') return new DenoUnixAcceptor(options);
  // Adopted by its descriptor, a server does not unlink the path of a Unix socket when it is closed.
  const server = net.createServer({ pauseOnConnect: isPaused, allowHalfOpen: true, noDelay }, accepted);
  server.on('error', failed);
  // Node takes the queue's length as the second argument alone when it is given a descriptor (seen in 26.10).
  server.listen({ fd: listener.dup(), exclusive: true }, listener.backlog, opened);
  if (isAside) server.unref();
  return { close: () => closeServer(server) };
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    // Deno accepts all that wait at once and hands them out one by one. Closed in the middle of that,
    // it drops the rest; by the next turn all were handed out.
    setImmediate(() => {
      // 'close' comes when the last connection has ended: the socket itself is closed at once.
      server.close();
      resolve();
    });
  });
}
