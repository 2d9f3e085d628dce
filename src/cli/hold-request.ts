/** A request that holds for as long as its client lives: something is told of while it is so. */
import { setTimeout as delay } from 'node:timers/promises';
import { call } from '../control/client.ts';
import type { CallOptions } from '../control/client.ts';
import type { Command, Request } from '../control/messages.ts';

/** A daemon that could not be asked may be there after so long, in milliseconds. */
const againMs = 500;

/** Hold it with the daemon of a state dir, and with the next one when that ends. Resolves at the signal; never rejects. */
export async function holdRequest<C extends Command>(
  dir: string,
  request: Request<C> & { command: C },
  { signal, onProgress }: CallOptions<C> & { signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    await call(dir, request, { signal, onProgress }).catch(() => {});
    // There is no daemon, or none that knows this: the next one may.
    await delay(againMs, undefined, { signal }).catch(() => {});
  }
}
