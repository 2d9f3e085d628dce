/** The keys that seal session tickets (RFC 5077), as a file has them that several servers share. */
import type { FileOptions } from './files.ts';
import type { SslServer, TlsServer } from './model.ts';
import { fileError, readBytes } from './named-file.ts';
import { printServer } from './print.ts';

/** Bytes of a key: 16 of its name, 32 for HMAC-SHA256, 32 for AES-256, in nginx's order. */
export const TICKET_KEY_SIZE = 80;
/** Most keys of a file: one to seal with, and those that may have sealed before. */
const maxKeys = 16;

/**
 * The keys of `ticketKeys`, the newest first, which seals; the others are taken too. The file has them as they are,
 * 80 bytes each, or a line of base64 each. Null when the endpoint names no file. Throws EndpointError.
 */
export function readTicketKeys(
  endpoint: SslServer | TlsServer,
  { text = printServer(endpoint) }: FileOptions = {},
): Buffer[] | null {
  if (endpoint.ticketKeys === undefined) return null;
  const file = { parameter: 'ticketKeys', path: endpoint.ticketKeys, text };
  const bytes = readBytes(file);
  const keys = isBase64(bytes) ? linesOf(bytes) : piecesOf(bytes);
  const isGood = keys.length > 0 && keys.length <= maxKeys && keys.every(({ length }) => length === TICKET_KEY_SIZE);
  if (!isGood)
    throw fileError(file, `it does not hold 1 to ${maxKeys} keys of ${TICKET_KEY_SIZE} bytes`, {
      hint: 'openssl rand 240 >FILE makes three; lines of base64, one a key, are taken too',
    });
  const names = new Set(keys.map((key) => key.toString('latin1', 0, 16)));
  if (names.size < keys.length) throw fileError(file, 'two keys in it have the same name (their first 16 bytes)');
  return keys;
}

/** Random bytes are no text of this kind but for a chance that nobody will meet. */
function isBase64(bytes: Buffer): boolean {
  return /^[A-Za-z0-9+/=\r\n]+$/.test(bytes.toString('latin1'));
}

function linesOf(bytes: Buffer): Buffer[] {
  const lines = bytes.toString('latin1').split(/\r?\n/);
  return lines.filter((line) => line !== '').map((line) => Buffer.from(line, 'base64'));
}

function piecesOf(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += TICKET_KEY_SIZE) pieces.push(bytes.subarray(at, at + TICKET_KEY_SIZE));
  return pieces;
}
