/** A command that waits for more to print ends with whoever reads it: `grace logs -f | head -1`. */
import { isReaderGone } from '../sys/descriptor.ts';
import type { Output } from './context.ts';

/** Nothing tells of it but a look, or the next write, which may come hours later. */
const lookMs = 250;

/** A signal that aborts when nobody reads an output any more; only one with a descriptor can tell. */
export function watchReader(output: Output): Disposable & { signal: AbortSignal } {
  const gone = new AbortController();
  const { fd } = output as { fd?: unknown };
  const look = () => {
    if (isGone(fd)) gone.abort(new Error('nobody reads it any more'));
  };
  const timer = typeof fd === 'number' ? setInterval(look, lookMs).unref() : null;
  return {
    signal: gone.signal,
    [Symbol.dispose]() {
      if (timer !== null) clearInterval(timer);
    },
  };
}

function isGone(fd: unknown): boolean {
  try {
    return typeof fd === 'number' && isReaderGone(fd);
  } catch {
    return false; // the system cannot be asked; a write will tell
  }
}
