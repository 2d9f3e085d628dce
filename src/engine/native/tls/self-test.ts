/**
 * Whether the runtime's OpenSSL does what the handshakes here rely on without its promise: that the key log, by way of a function that
 * was made for something else, gives the secrets (see server-context.ts), and that records can go on where libssl has ended. Tried
 * once, in memory, with a client of libssl's own at the other end.
 */
import { KeySchedule } from './key-schedule.ts';
import { KeyTable, TLS12, TLS13 } from './key-table.ts';
import type { Library } from './identity.ts';
import { word } from './library.ts';
import type { Pinned } from './library.ts';
import { APPLICATION_DATA, countRecords, Records } from './records.ts';
import { Secrets } from './secrets.ts';
import { ServerHello } from './server-hello.ts';
import {
  BOTH_SHUT_DOWN,
  SSL_CTRL_SET_MAX_PROTO_VERSION,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  X509_VP_FLAG_LOCKED,
} from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

/** Steps of either side that a handshake takes at most. */
export const MAX_STEPS = 10;
/** The row of the key table that is used. */
export const ROW = 1;
const QUESTION = 'is anybody there';
const ANSWER = 'somebody is';

/** Shake hands with a server of this SSL_CTX, and say something each way. Returns what went wrong; null: nothing did. */
export function findFlaw(library: Library, context: bigint): string | null {
  const results = [TLS13, TLS12].map((version) => tryVersion(library, context, version));
  const flaws = results.filter((result) => typeof result === 'string');
  if (flaws[0] !== undefined) return flaws[0];
  return results.includes(true) ? null : 'a handshake with itself did not succeed';
}

const PROTOCOL = 'grace/test';

/** The same of a protocol that a server agrees on by ALPN. The SSL_CTX is one that stops at a ClientHello. */
export function findAlpnFlaw(library: Library, context: bigint): string | null {
  const { ssl, crypto } = library;
  const hello = new ServerHello(library);
  const buffer = crypto.pin(65_536);
  const clientContext = ssl.SSL_CTX_new(ssl.TLS_client_method());
  const client = openSide(ssl, clientContext);
  const server = openSide(ssl, context);
  ssl.SSL_set_connect_state(client.ssl);
  ssl.SSL_set_accept_state(server.ssl);
  const offered = Buffer.from(`${String.fromCharCode(PROTOCOL.length)}${PROTOCOL}`);
  try {
    buffer.bytes.set(offered);
    ssl.SSL_set_alpn_protos(client.ssl, buffer.address, word(offered.length));
    for (let step = 0; step < MAX_STEPS; step++) {
      const isClientDone = ssl.SSL_do_handshake(client.ssl) === 1;
      if (isClientDone) return isAgreed(ssl, client.ssl, buffer) ? null : 'OpenSSL does not agree on a protocol';
      carry(ssl, client.out, server.in, buffer);
      const result = ssl.SSL_do_handshake(server.ssl);
      if (hello.isAt(server.ssl, result)) {
        if (!hello.agreeOn(server.ssl, PROTOCOL)) return 'OpenSSL cannot be told of a protocol';
        hello.proceed(server.ssl, context);
      } else if (step === 0) return 'OpenSSL does not stop at a ClientHello';
      carry(ssl, server.out, client.in, buffer);
    }
    return 'a handshake with a protocol did not succeed';
  } finally {
    for (const side of [client, server]) {
      ssl.SSL_set_shutdown(side.ssl, BOTH_SHUT_DOWN);
      ssl.SSL_free(side.ssl);
    }
    ssl.SSL_CTX_free(clientContext);
    ssl.ERR_clear_error();
    buffer.bytes.fill(0);
  }
}

function isAgreed(ssl: Ssl, client: bigint, { bytes, address }: Pinned): boolean {
  bytes.fill(0, 0, 16);
  ssl.SSL_get0_alpn_selected(client, address, address + 8n);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [found, length] = [view.getBigUint64(0, true), view.getUint32(8, true)];
  if (found === 0n || length !== PROTOCOL.length) return false;
  ssl.memcpy(address, found, word(length));
  return Buffer.from(bytes.subarray(0, length)).toString('latin1') === PROTOCOL;
}

/** True: it works; false: this version is not spoken; else what went wrong. */
function tryVersion({ ssl, crypto }: Library, context: bigint, version: number): string | boolean {
  const keys = KeyTable.open(ROW + 1);
  const records = new Records(crypto, keys);
  const buffer = crypto.pin(65_536);
  const clientContext = ssl.SSL_CTX_new(ssl.TLS_client_method());
  for (const name of [SSL_CTRL_SET_MIN_PROTO_VERSION, SSL_CTRL_SET_MAX_PROTO_VERSION])
    ssl.SSL_CTX_ctrl(clientContext, name, BigInt(version), 0n);
  const client = openSide(ssl, clientContext);
  const server = openSide(ssl, context);
  ssl.SSL_set_connect_state(client.ssl);
  ssl.SSL_set_accept_state(server.ssl);
  ssl.X509_VERIFY_PARAM_set_inh_flags(ssl.SSL_get0_param(server.ssl), X509_VP_FLAG_LOCKED);
  const secrets = new Secrets({ ssl, crypto, keys, schedule: new KeySchedule(crypto, keys) });
  try {
    for (let step = 0; step < MAX_STEPS; step++) {
      const isClientDone = ssl.SSL_do_handshake(client.ssl) === 1;
      carry(ssl, client.out, server.in, buffer);
      const isServerDone = ssl.SSL_do_handshake(server.ssl) === 1;
      const sealed = carry(ssl, server.out, client.in, buffer);
      if (!isServerDone) continue;
      // In TLS 1.2 the last flight is the server's.
      if (!isClientDone && ssl.SSL_do_handshake(client.ssl) !== 1) return false;
      const isTaken = secrets.take(server.ssl, ROW, { isServer: true, sealed: version === TLS13 ? sealed : 0 });
      return isTaken ? converse(ssl, { peer: client, records, buffer }) : 'OpenSSL gives no keys of a handshake';
    }
    return false;
  } finally {
    secrets.forget(server.ssl);
    for (const side of [client, server]) {
      ssl.SSL_set_shutdown(side.ssl, BOTH_SHUT_DOWN);
      ssl.SSL_free(side.ssl);
    }
    ssl.SSL_CTX_free(clientContext);
    ssl.ERR_clear_error();
    records.close();
    keys.close(ROW);
    buffer.bytes.fill(0);
  }
}

/** One end of a handshake in memory, with what it reads and what it has written. */
export type Side = { ssl: bigint; in: bigint; out: bigint };

/** Who opens it frees its `ssl`. */
export function openSide(ssl: Ssl, context: bigint): Side {
  const side = {
    ssl: ssl.SSL_new(context),
    in: ssl.BIO_new(ssl.BIO_s_mem()),
    out: ssl.BIO_new(ssl.BIO_s_mem()),
  };
  ssl.SSL_set_bio(side.ssl, side.in, side.out);
  return side;
}

/** What one side has said goes to the other. Returns how many records it was. */
export function carry(ssl: Ssl, from: bigint, to: bigint, { bytes, address }: Pinned): number {
  let records = 0;
  for (;;) {
    const length = ssl.BIO_read(from, address, word(bytes.length));
    if (length <= 0) return records;
    records += countRecords(bytes.subarray(0, length));
    ssl.BIO_write(to, address, word(length));
  }
}

/** A record each way, libssl at one side, our own keys (of `ROW`) at the other. Returns what went wrong, or true. */
export function converse(
  ssl: Ssl,
  { peer, records, buffer }: { peer: Side; records: Records; buffer: Pinned },
): string | true {
  const { bytes, address } = buffer;
  records.adopt(ROW);
  bytes.set(Buffer.from(QUESTION));
  ssl.SSL_write(peer.ssl, address, word(QUESTION.length));
  ssl.BIO_read(peer.out, address, word(bytes.length));
  const alert = records.open(ROW, { source: buffer, from: 0 }, { target: buffer, at: 32_768 });
  const question = Buffer.from(bytes.subarray(32_768, 32_768 + records.length)).toString('latin1');
  if (alert !== 0 || question !== QUESTION) return 'what OpenSSL sends cannot be read';
  bytes.set(Buffer.from(ANSWER));
  const length = records.seal(
    ROW,
    APPLICATION_DATA,
    { source: buffer, from: 0, length: ANSWER.length },
    { target: buffer, at: 32_768 },
  );
  ssl.BIO_write(peer.in, address + 32_768n, word(length - 32_768));
  const read = ssl.SSL_read(peer.ssl, address, word(256));
  const answer = Buffer.from(bytes.subarray(0, Math.max(0, read))).toString('latin1');
  return answer === ANSWER ? true : 'what is sent to OpenSSL cannot be read there';
}
