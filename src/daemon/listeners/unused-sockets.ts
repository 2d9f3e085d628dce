import { createServer } from 'node:net';
import type { Server } from 'node:net';
import type { Listener } from '../../net/listener.ts';
import type { InheritedSocket } from './inherited-sockets.ts';

/**
 * Sockets that were passed to the daemon and that no rule uses. They listen all the same, so clients
 * would wait in their queues for nobody: they are turned away. The sockets themselves stay as they are,
 * for a later rule and for the service manager, which has them too.
 */
export class UnusedSockets {
  readonly #servers = new Map<Listener, Server>();
  /** Those that a rule was to have; it is not known yet whether it does. */
  readonly #released = new Set<Listener>();

  /** Turn the clients of these away, and of no others. Returns those of which that is new. */
  set(sockets: readonly InheritedSocket[]): InheritedSocket[] {
    const listeners = sockets.map(({ listener }) => listener);
    for (const listener of this.#servers.keys()) if (!listeners.includes(listener)) this.#stop(listener);
    this.#released.clear();
    const added = sockets.filter(({ listener }) => !this.#servers.has(listener));
    for (const { listener } of added) this.#start(listener);
    return added;
  }

  /** A rule is about to listen there. */
  release(listener: Listener): void {
    if (this.#servers.has(listener)) this.#released.add(listener);
    this.#stop(listener);
  }

  /** It came to nothing. */
  takeBack(listener: Listener): void {
    if (this.#released.delete(listener)) this.#start(listener);
  }

  #start(listener: Listener): void {
    const { address, backlog } = listener;
    const server = createServer((socket) => {
      socket.on('error', () => {}); // it is gone in any case
      if (address.family === 'unix') socket.destroy();
      else socket.resetAndDestroy();
    });
    server.on('error', () => this.#stop(listener)); // nobody is turned away, and nobody else is harmed
    // The runtime calls listen(2) again, see serve-on.ts.
    server.listen({ fd: listener.dup(), exclusive: true }, backlog);
    server.unref();
    this.#servers.set(listener, server);
  }

  #stop(listener: Listener): void {
    this.#servers.get(listener)?.close();
    this.#servers.delete(listener);
  }
}
