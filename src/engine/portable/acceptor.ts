import net from 'node:net';
import type { Socket } from 'node:net';
import type { Listener } from '../../net/listener.ts';

/** Where to accept, and who gets the clients. */
export type AcceptorOptions = {
  listener: Listener;
  /** Gets every client, paused, until `close` has resolved. */
  accepted: (client: Socket) => void;
  failed: (error: Error) => void;
};

/** Accepts on a duplicate of a listener's descriptor, and lets go of it when closed. */
export type Acceptor = { close(): Promise<void> };

/**
 * Start accepting. A runtime cannot stop accepting on a socket and go on later, so a pause is a close:
 * what waits in the queue stays there, as the listener itself is still open.
 */
export function openAcceptor({ listener, accepted, failed }: AcceptorOptions): Acceptor {
  // Adopted by its descriptor, a server does not unlink the path of a Unix socket when it is closed.
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, accepted);
  server.on('error', failed);
  // Node takes the queue's length as the second argument alone when it is given a descriptor (seen in 26.10).
  server.listen({ fd: listener.dup(), exclusive: true }, listener.backlog);
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
