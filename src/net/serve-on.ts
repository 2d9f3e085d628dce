import cluster from 'node:cluster';
import { once } from 'node:events';
import type { Server } from 'node:net';
import { GraceError } from '../error.ts';
import { badArgument, isRecord } from './argument.ts';
import type { Listener } from './listener.ts';

/**
 * Let a server (net, tls, http, https or http2) accept on a listener, and resolve when it does. The
 * server works on a duplicate. Its `close()` closes the listener too, at once: a copy left open would
 * keep a queue that nobody serves, and would be handed to a successor that has no use for it.
 */
export async function serveOn(server: Server, listener: Listener): Promise<void> {
  mustBeServer('serveOn', server);
  checkNoClusterWorker('serveOn');
  if (!isRecord(listener) || typeof listener.dup !== 'function')
    throw badArgument('serveOn: listener', 'a listener of Net or openListener', listener);
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

/**
 * A worker of node:cluster asks its primary to listen, and names a descriptor of its own, which there is another
 * one or none (seen in Node 26.10).
 *
 * @throws GraceError in such a worker.
 */
export function checkNoClusterWorker(where: string): void {
  if (!cluster.isWorker) return;
  throw new GraceError(`${where}: this process is a worker of node:cluster, which has no socket of its own`, {
    code: 'ERR_GRACE_PROCESS',
    hint: 'run the program without it (PM2: in fork mode), several behind `grace daemon`',
  });
}

/**
 * @throws GraceError when it is no server of node:net, tls, http, https or http2, or one that listens already.
 */
export function mustBeServer(where: string, server: unknown): asserts server is Server {
  // By what it can do: Deno's HTTP servers are no net.Server.
  if (
    !isRecord(server) ||
    !['listen', 'close', 'once'].every((name) => typeof server[name] === 'function') ||
    typeof server.listening !== 'boolean'
  ) {
    const isApplication =
      typeof server === 'function' ||
      (isRecord(server) && ('fetch' in server || 'routing' in server || 'callback' in server));
    const hint = isApplication
      ? 'an application goes into a server first, as in http.createServer(application)'
      : undefined;
    throw badArgument(where, 'a server of node:http, https, http2, net or tls', server, hint);
  }
  if (server.listening) {
    throw new GraceError(`${where}: the server listens already`, {
      code: 'ERR_GRACE_ARGUMENT',
      hint: 'leave out server.listen(): grace listens, on a socket that a successor can inherit',
    });
  }
}
