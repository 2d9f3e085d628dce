/** TLS sessions of one destination, for the next connection to it. They are in memory alone, since they hold secrets. */
import type { TLSSocket } from 'node:tls';

/** Most sessions that are kept: tickets of TLS 1.3 are for one connection each (RFC 8446, appendix C.4), and come two at a time. */
const MAX_SESSIONS = 8;
/** A session is used for so long, in milliseconds, whatever its server would allow. */
const MAX_AGE_MS = 2 * 3_600_000;

type Kept = { readonly session: Buffer; readonly since: number };

/** What destinations that are verified by the same files and names have told to be resumed. */
export class ClientSessions {
  readonly #kept: Kept[] = [];

  /** The latest session, which is the caller's alone from now on; undefined: there is none. */
  take(): Buffer | undefined {
    const oldest = performance.now() - MAX_AGE_MS;
    const found = this.#kept.pop();
    return found && found.since > oldest ? found.session : undefined;
  }

  /** Keep a session of a server that was verified. */
  add(session: Buffer): void {
    this.#kept.push({ session, since: performance.now() });
    if (this.#kept.length > MAX_SESSIONS) this.#kept.shift();
  }

  /** A handshake failed with one: the next is to be a whole one. */
  forget(): void {
    this.#kept.length = 0;
  }

  /**
   * Keep what the server of a socket tells, once it is verified; `used` is the session with which its handshake was begun. Returns
   * what is to be called when it is.
   */
  follow(socket: TLSSocket, used: Buffer | undefined): () => void {
    const early: Buffer[] = [];
    let isVerified = false;
    socket.on('session', (session: Buffer) => {
      if (isVerified) this.add(session);
      else early.push(session);
    });
    return () => {
      isVerified = true;
      // Of TLS 1.2 a session may be resumed again and again, and the server need not tell a new one.
      const isKept = used !== undefined && early.length === 0 && socket.getProtocol() === 'TLSv1.2';
      if (isKept && socket.isSessionReused()) early.push(used);
      for (const session of early.splice(0)) this.add(session);
    };
  }
}
