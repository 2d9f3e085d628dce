/** Handshake messages that come after the handshake of TLS 1.3, taken from however many records they are spread over (RFC 8446, section 4.6). */
import { UNEXPECTED_MESSAGE } from './records.ts';
import type { Snapshot } from './snapshot.ts';

const NEW_SESSION_TICKET = 4;
const KEY_UPDATE = 24;
const HEADER_SIZE = 4;
const DECODE_ERROR = 50;
const ILLEGAL_PARAMETER = 47;
const MAX_TICKET_SIZE = 65_536;

/** What a key update says of itself: whether one of ours is asked for. */
const NOT_REQUESTED = 0;
const REQUESTED = 1;

/** A KeyUpdate of ours, which asks for none (RFC 8446, section 4.6.3). */
export const KEY_UPDATE_MESSAGE: Uint8Array = Uint8Array.of(KEY_UPDATE, 0, 0, 1, NOT_REQUESTED);

/** What a leg is to do about a message: take the next key for what comes, and answer with the next one of ours. */
export type OnKeyUpdate = (update: { isAnswerAsked: boolean }) => void;

/** Reads the messages of one leg. Nothing is kept of those that are no concern of ours. */
export class PostHandshake {
  readonly #isClient: boolean;
  #header: number[] = [];
  /** Bytes of a message that are passed over. */
  #toSkip = 0;

  /** @param isClient whether the peer is a server, which may send tickets */
  constructor({ isClient }: { isClient: boolean }) {
    this.#isClient = isClient;
  }

  /** Whether a message has begun whose rest is yet to come: no record of another type may come before (section 5.1). */
  get isWithin(): boolean {
    return this.#header.length > 0 || this.#toSkip > 0;
  }

  /** Where it is, for another process to go on there. */
  get within(): Snapshot['message'] {
    return { header: this.#header, toSkip: this.#toSkip };
  }

  set within({ header, toSkip }: Snapshot['message']) {
    this.#header = [...header];
    this.#toSkip = toSkip;
  }

  /** Read what a record of type handshake has. Returns 0, or the alert that it is to be answered with. */
  read(bytes: Uint8Array, onKeyUpdate: OnKeyUpdate): number {
    for (let at = 0; at < bytes.length;) {
      if (this.#toSkip > 0) {
        const skipped = Math.min(this.#toSkip, bytes.length - at);
        this.#toSkip -= skipped;
        at += skipped;
        continue;
      }
      this.#header.push(bytes[at++]!);
      if (this.#header.length < HEADER_SIZE) continue;
      const alert = this.#begin();
      if (alert !== 0) return alert;
      if (this.#header.length <= HEADER_SIZE) continue;
      const request = this.#header.at(-1);
      this.#header.length = 0;
      if (request !== NOT_REQUESTED && request !== REQUESTED) return ILLEGAL_PARAMETER;
      // What is behind it in the same record has the old key, which is no longer one (section 5.1).
      if (at < bytes.length) return UNEXPECTED_MESSAGE;
      onKeyUpdate({ isAnswerAsked: request === REQUESTED });
    }
    return 0;
  }

  /** The header is there. */
  #begin(): number {
    const [type, high = 0, middle = 0, low = 0] = this.#header;
    const length = (high << 16) | (middle << 8) | low;
    if (type === KEY_UPDATE) return length === 1 ? 0 : DECODE_ERROR;
    if (type !== NEW_SESSION_TICKET || !this.#isClient) return UNEXPECTED_MESSAGE;
    if (length > MAX_TICKET_SIZE) return DECODE_ERROR;
    this.#toSkip = length;
    this.#header.length = 0;
    return 0;
  }
}
