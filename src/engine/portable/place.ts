import type { Socket } from 'node:net';
import { hasLinuxCalls } from '../../sys/process.ts';
import { peerCredentials } from '../../sys/socket.ts';
import { wordsOfHost } from '../admission/address-key.ts';
import type { Admission, ClientAddress, RefusalOfClient } from '../admission/admission.ts';

/** The place of one client under the limits for its address, from when it is let in until it leaves. */
export class Place {
  readonly #admission: Admission | null;
  #address: ClientAddress | null = null;

  constructor(admission: Admission | null) {
    this.#admission = admission;
  }

  /** Let a client in, by the address that a PROXY header told if that is given; or say why not. */
  take(client: Socket, host = client.remoteAddress): RefusalOfClient | null {
    if (this.#admission === null) return null;
    const words = host === undefined ? null : wordsOfHost(host);
    const address: ClientAddress = words === null ? { words, user: userOf(client) } : { words };
    const refusal = this.#admission.admit(address);
    if (refusal === null) this.#address = address;
    return refusal;
  }

  /** It is gone. Twice is fine. */
  leave(): void {
    if (this.#address !== null) this.#admission?.leave(this.#address);
    this.#address = null;
  }
}

/** Node has no word for it (SO_PEERCRED, unix(7)), and Deno no descriptor: all are one user there. */
function userOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  if (!hasLinuxCalls || typeof handle?.fd !== 'number' || handle.fd < 0) return -1;
  try {
    return peerCredentials(handle.fd).uid;
  } catch {
    return -1; // it is gone, or is no Unix socket
  }
}
