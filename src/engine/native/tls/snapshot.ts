/**
 * What a codec knows of its leg, written down for another process. Of keys there is nothing in it: they are in the row of
 * the key table, which goes beside it. Ciphertext that waits is in `pending` of the leg, as the bytes that it is.
 */

/**
 * Number of the form in which TLS of a leg goes from one process to another: what is written here, and the rows of
 * key-table.ts. It is another number with every change of either, since the two processes may be of different versions.
 */
export const MOVED_TLS_FORMAT = 3;

/** What is written down. */
export type Snapshot = {
  /** Whether the peer is a server. */
  isClient: boolean;
  hasPeerEnded: boolean;
  isFarewellSaid: boolean;
  isKeyUpdateDue: boolean;
  hasReadFin: boolean;
  /** Whether an end of the peer without a closing alert is a reset. */
  seesTruncation: boolean;
  /** Where it is in a handshake message. */
  message: { header: readonly number[]; toSkip: number };
  /** The beginning of a record. */
  partial: Uint8Array;
  /** A record that the socket did not take. */
  ahead: Uint8Array;
};

const FLAGS = ['isClient', 'hasPeerEnded', 'isFarewellSaid', 'isKeyUpdateDue', 'hasReadFin', 'seesTruncation'] as const;
const HEAD_SIZE = 16;
const HEADER_AT = 2;
const SKIP_AT = 8;
const PARTIAL_AT = 12;

/** The bytes of a snapshot. */
export function writeSnapshot(snapshot: Snapshot): Uint8Array {
  const { message, partial, ahead } = snapshot;
  const bytes = new Uint8Array(HEAD_SIZE + partial.length + ahead.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = FLAGS.reduce((bits, flag, index) => bits | (snapshot[flag] ? 1 << index : 0), 0);
  bytes[1] = message.header.length;
  bytes.set(message.header, HEADER_AT);
  view.setUint32(SKIP_AT, message.toSkip);
  view.setUint32(PARTIAL_AT, partial.length);
  bytes.set(partial, HEAD_SIZE);
  bytes.set(ahead, HEAD_SIZE + partial.length);
  return bytes;
}

/** The snapshot that these bytes are of. */
export function readSnapshot(bytes: Uint8Array): Snapshot {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const has = (flag: (typeof FLAGS)[number]) => (bytes[0]! & (1 << FLAGS.indexOf(flag))) !== 0;
  const aheadAt = HEAD_SIZE + view.getUint32(PARTIAL_AT);
  return {
    isClient: has('isClient'),
    hasPeerEnded: has('hasPeerEnded'),
    isFarewellSaid: has('isFarewellSaid'),
    isKeyUpdateDue: has('isKeyUpdateDue'),
    hasReadFin: has('hasReadFin'),
    seesTruncation: has('seesTruncation'),
    message: { header: [...bytes.subarray(HEADER_AT, HEADER_AT + bytes[1]!)], toSkip: view.getUint32(SKIP_AT) },
    partial: bytes.slice(HEAD_SIZE, aheadAt),
    ahead: bytes.slice(aheadAt),
  };
}
