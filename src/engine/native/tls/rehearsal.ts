/**
 * Handshakes of libssl with itself, in memory, of which one side goes on with our records: what self-test.ts and
 * client-self-test.ts try.
 */
import type { Library } from './identity.ts';
import { KeySchedule } from './key-schedule.ts';
import { KeyTable } from './key-table.ts';
import { word } from './library.ts';
import type { Pinned } from './library.ts';
import { APPLICATION_DATA, countRecords, Records } from './records.ts';
import { Secrets } from './secrets.ts';
import {
  freeSsl,
  SSL_CTRL_SET_MAX_PROTO_VERSION,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  X509_VP_FLAG_LOCKED,
} from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

/** Steps of either side that a handshake takes at most. */
export const MAX_STEPS = 10;
/** Bytes that a buffer for one has. */
export const BUFFER_SIZE = 65_536;
/** The row of the key table that is used. */
const ROW = 1;
const QUESTION = 'is anybody there';
const ANSWER = 'somebody is';

/** Addresses of an SSL_CTX for each side, which are the caller's. */
export type Contexts = { client: bigint; server: bigint };

/** Where a handshake stands after a step of either side. */
export type Step = {
  pair: Pair;
  isClientDone: boolean;
  isServerDone: boolean;
  /** Records that the server has just sent. */
  sealed: number;
  /**
   * Take the keys of our side, which has sealed so many records with them, and say something each way: libssl at the other
   * side, our records here. Returns what went wrong, or true.
   */
  talk: (sealed: number) => string | true;
};

/**
 * Shake hands until `judge` says something of a step.
 *
 * @param own whose keys are taken
 * @returns what it said; null: nothing, as long as a handshake may take
 */
export function rehearse<Verdict>(
  { ssl, crypto }: Library,
  { own, ...contexts }: Contexts & { own: keyof Pair },
  judge: (step: Step) => Verdict | undefined,
): Verdict | null {
  const keys = KeyTable.open(ROW + 1);
  const records = new Records(crypto, keys);
  const buffer = crypto.pin(BUFFER_SIZE);
  const pair = openPair(ssl, contexts);
  const { client, server } = pair;
  const ours = pair[own].ssl;
  const peer = own === 'client' ? server : client;
  ssl.X509_VERIFY_PARAM_set_inh_flags(ssl.SSL_get0_param(ours), X509_VP_FLAG_LOCKED);
  const secrets = new Secrets({ ssl, crypto, keys, schedule: new KeySchedule(crypto, keys) });
  const talk = (sealed: number) =>
    secrets.take(ours, ROW, { isServer: own === 'server', sealed })
      ? converse(ssl, { peer, records, buffer })
      : 'OpenSSL gives no keys of a handshake';
  try {
    for (let step = 0; step < MAX_STEPS; step++) {
      const isClientDone = ssl.SSL_do_handshake(client.ssl) === 1;
      carry(ssl, client.out, server.in, buffer);
      const isServerDone = ssl.SSL_do_handshake(server.ssl) === 1;
      const sealed = carry(ssl, server.out, client.in, buffer);
      const verdict = judge({ pair, isClientDone, isServerDone, sealed, talk });
      if (verdict !== undefined) return verdict;
    }
    return null;
  } finally {
    secrets.forget(ours);
    freePair(ssl, pair);
    records.close();
    keys.close(ROW);
    buffer.bytes.fill(0);
  }
}

/** Have handshakes of an SSL_CTX be of this version alone. */
export function allowOnly(ssl: Ssl, context: bigint, version: number): void {
  for (const name of [SSL_CTRL_SET_MIN_PROTO_VERSION, SSL_CTRL_SET_MAX_PROTO_VERSION])
    ssl.SSL_CTX_ctrl(context, name, BigInt(version), 0n);
}

/** One end of a handshake in memory, with what it reads and what it has written. */
export type Side = { ssl: bigint; in: bigint; out: bigint };
/** Both. */
export type Pair = { client: Side; server: Side };

/** Who opens them frees them. */
export function openPair(ssl: Ssl, contexts: Contexts): Pair {
  const pair = { client: openSide(ssl, contexts.client), server: openSide(ssl, contexts.server) };
  ssl.SSL_set_connect_state(pair.client.ssl);
  ssl.SSL_set_accept_state(pair.server.ssl);
  return pair;
}

/** Free them, and forget what libssl had to say of them. */
export function freePair(ssl: Ssl, { client, server }: Pair): void {
  for (const side of [client, server]) freeSsl(ssl, side.ssl);
}

function openSide(ssl: Ssl, context: bigint): Side {
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
function converse(
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
