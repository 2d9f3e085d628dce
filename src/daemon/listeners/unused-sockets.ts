import type { Socket } from 'node:net';
import { openAcceptor } from '../../net/acceptor.ts';
import type { Acceptor } from '../../net/acceptor.ts';
import type { Listener } from '../../net/listener.ts';
import type { InheritedSocket } from './inherited-sockets.ts';

/**
 * Sockets that were passed to the daemon and that no rule uses. They listen all the same, so clients
 * would wait in their queues for nobody: they are turned away. The sockets themselves stay as they are,
 * for a later rule and for the service manager, which has them too.
 */
export class UnusedSockets {
  readonly #acceptors = new Map<Listener, Acceptor>();
  /** Those that a rule was to have; it is not known yet whether it does. */
  readonly #released = new Set<Listener>();

  /** Turn the clients of these away, and of no others. Returns those of which that is new. */
  set(sockets: readonly InheritedSocket[]): InheritedSocket[] {
    const listeners = sockets.map(({ listener }) => listener);
    for (const listener of this.#acceptors.keys()) if (!listeners.includes(listener)) this.#stop(listener);
    this.#released.clear();
    const added = sockets.filter(({ listener }) => !this.#acceptors.has(listener));
    for (const { listener } of added) this.#start(listener);
    return added;
  }

  /** A rule is about to listen there. */
  release(listener: Listener): void {
    if (this.#acceptors.has(listener)) this.#released.add(listener);
    this.#stop(listener);
  }

  /** It came to nothing. */
  takeBack(listener: Listener): void {
    if (this.#released.delete(listener)) this.#start(listener);
  }

  #start(listener: Listener): void {
    const accepted = (socket: Socket) => {
      socket.on('error', () => {}); // it is gone in any case
      if (listener.address.family === 'unix') socket.destroy();
      else socket.resetAndDestroy();
    };
    const failed = () => this.#stop(listener); // nobody is turned away, and nobody else is harmed
    this.#acceptors.set(listener, openAcceptor({ listener, accepted, failed, isAside: true }));
  }

  #stop(listener: Listener): void {
    void this.#acceptors.get(listener)?.close();
    this.#acceptors.delete(listener);
  }
}
