/**
 * Whose certificate was checked at a listener, so that a session goes on only where it is as good as a full handshake.
 *
 * Deno 2.9 seals the session tickets of all its servers with one key and heeds no session id context (ext/node/ops/tls.rs,
 * `server_ticketer`), so a server goes on with sessions of any other, and in a resumed handshake asks for no certificate: a
 * client would get in without one, or with one of authorities that count elsewhere. It has no option against it.
 */
import type { TlsOptions, TLSSocket } from 'node:tls';

/** Certificates that are remembered of a listener; those that are forgotten need a full handshake again. */
const MAX_CERTIFICATES = 65_536;

/**
 * Those of a server with these options, which admits who comes; null where none are needed: no certificate is asked for, or the
 * runtime keeps sessions apart. `earlier`: those before its files were read again, which count on while it demands the same.
 */
export function checkedClientsOf(
  { requestCert, sessionIdContext }: TlsOptions,
  earlier: CheckedClients | null = null,
): CheckedClients | null {
  if (!('Deno' in globalThis) || !requestCert) return null;
  const demands = sessionIdContext ?? '';
  return earlier?.demands === demands ? earlier : new CheckedClients(demands);
}

/** The certificates that were checked by full handshakes with the same demands. */
export class CheckedClients {
  /** What is demanded, as a session id context. */
  readonly demands: string;
  readonly #maxCertificates: number;
  /** Fingerprints, those used last at the end. */
  readonly #known = new Set<string>();

  constructor(demands: string, maxCertificates: number = MAX_CERTIFICATES) {
    this.demands = demands;
    this.#maxCertificates = maxCertificates;
  }

  /** Whether a client has shown its certificate, in the handshake that is done or in an earlier one here. */
  admit(socket: Pick<TLSSocket, 'isSessionReused' | 'getPeerCertificate'>): boolean {
    // Without a certificate it is an empty object.
    const { fingerprint256 } = socket.getPeerCertificate() as { fingerprint256?: string };
    if (fingerprint256 === undefined) return false;
    if (socket.isSessionReused() && !this.#known.has(fingerprint256)) return false;
    this.#known.delete(fingerprint256);
    this.#known.add(fingerprint256);
    const [oldest] = this.#known;
    if (this.#known.size > this.#maxCertificates && oldest !== undefined) this.#known.delete(oldest);
    return true;
  }
}
