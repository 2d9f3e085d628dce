/** Session tickets sealed with keys of ours, so that a session is resumed by whichever process has them. */
import { randomBytes } from 'node:crypto';
import type { SecureContext, Server } from 'node:tls';

/**
 * Node's own way is one key of 48 bytes, which makes every session that another key sealed a full handshake. Below
 * it is OpenSSL's callback, which Node has for a test of its own and does not document: it is asked for what to seal
 * with, and for the key of a name. Answered with `[status, hmac, aes, name, iv]`; 0: not ours, 1: take it, 2: take it and
 * seal a new one. (SSL_CTX_set_tlsext_ticket_key_cb(3)) Node ends the process at an answer that is short of a buffer,
 * whatever its status is, so every answer has all five.
 */
type Context = {
  enableTicketKeyCallback?(): void;
  onticketkeycallback?: (
    name: Buffer,
    iv: Buffer,
    isSealing: boolean,
  ) => readonly [status: number, hmac: Buffer, aes: Buffer, name: Buffer, iv: Buffer];
};

const nobodysKey = Buffer.alloc(80);

/**
 * Seal the tickets of a server with the first of these keys (80 bytes each: name, HMAC, AES), and take those of the others;
 * they are asked for at each ticket. Does nothing where the runtime has no way to.
 */
export function sealTickets(server: Server, keys: () => readonly Buffer[]): void {
  const own = (server as Server & { _sharedCreds?: SecureContext })._sharedCreds;
  if (own !== undefined) sealTicketsOf(own, keys);
}

/**
 * The same for what a server's SNICallback chooses: behind a HelloRetryRequest Node asks that one, and ends a handshake with an
 * internal_error when nobody answers.
 */
export function sealTicketsOf(secure: SecureContext, keys: () => readonly Buffer[]): void {
  const { context } = secure as { context?: Context };
  if (context?.enableTicketKeyCallback === undefined) return;
  context.enableTicketKeyCallback();
  context.onticketkeycallback = (name, iv, isSealing) => {
    const all = keys();
    const at = isSealing ? 0 : all.findIndex((each) => each.subarray(0, 16).equals(name));
    const key = all[at] ?? nobodysKey;
    const parts = [key.subarray(16, 48), key.subarray(48, 64)] as const;
    if (isSealing) return [1, ...parts, key.subarray(0, 16), randomBytes(16)];
    return [key === nobodysKey ? 0 : at === 0 ? 1 : 2, ...parts, name, iv];
  };
}
