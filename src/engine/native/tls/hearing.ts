/** A client whose ClientHello something is chosen by: it is read as it goes by on its way to libssl, which stops there and is told. */
import { ClientHelloReader } from '../../client-hello.ts';
import type { ClientHello } from '../../client-hello.ts';
import type { HelloPlan } from '../thread-plans.ts';
import { chooseByHello } from './hello-choice.ts';
import type { ServerHello } from './server-hello.ts';

/** Of one handshake. */
export class Hearing {
  readonly #hello: ServerHello;
  readonly #plan: HelloPlan;
  readonly #handshake: bigint;
  readonly #reader = new ClientHelloReader();
  /** The first one. A second is the same but for the key exchange (RFC 8446, section 4.1.2). */
  #heard: ClientHello | 'more' | null = 'more';
  /** Whose certificate is presented. */
  #presented: bigint;

  constructor(hello: ServerHello, plan: HelloPlan, { handshake, context }: { handshake: bigint; context: bigint }) {
    this.#hello = hello;
    this.#plan = plan;
    this.#handshake = handshake;
    this.#presented = context;
  }

  /** These bytes of the client come next. */
  listen(bytes: Uint8Array): void {
    if (this.#heard !== 'more') return;
    this.#heard = this.#reader.add(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  }

  /** A step of libssl, as SSL_do_handshake; null: by its ClientHello, the client is to be refused. */
  step(): number | null {
    const hello = this.#hello;
    const result = hello.begin(this.#handshake);
    if (!hello.isAt(this.#handshake, result)) return result;
    // One that cannot be read is libssl's to refuse.
    const heard = this.#heard === 'more' ? null : this.#heard;
    const choice = heard === null ? { context: null, protocol: null } : chooseByHello(this.#plan, heard);
    if (choice === null) return null;
    const { context, protocol } = choice;
    if (protocol !== null && !hello.agreeOn(this.#handshake, protocol)) return null;
    if (context !== null && hello.present(this.#handshake, context)) this.#presented = context;
    return hello.proceed(this.#handshake, this.#presented);
  }
}
