import { once } from 'node:events';
import type { Server } from 'node:net';
import type { Listener } from './listener.ts';

/**
 * Let a server (net, tls, http, https or http2) accept on a listener, and resolve when it does. The
 * server works on a duplicate. Its `close()` closes the listener too, at once: a copy left open would
 * keep a queue that nobody serves, and would be handed to a successor that has no use for it.
 */
export async function serveOn(server: Server, listener: Listener): Promise<void> {
  const close = server.close;
  server.close = (callback) => {
    listener.close();
    return Reflect.apply(close, server, [callback]);
  };
  const listening = once(server, 'listening');
  // The runtime calls listen(2) again; without the length it would set the queue to its own default. Given
  // a descriptor, Node takes the length as the second argument alone and ignores the option (seen in 26.10).
  server.listen({ fd: listener.dup(), exclusive: true }, listener.backlog);
  await listening;
}
