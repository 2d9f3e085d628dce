import { errorMessage } from '../error.ts';
import type { Log } from './log.ts';

/** Kinds of errors that are remembered as told; beyond that each is told again. */
const mostKinds = 100;

/**
 * What becomes of an error that nobody has caught, out of a timer or an event's handler, once a daemon
 * serves: it is told, once a kind, and traffic goes on. Whatever threw is a mistake, and no connection
 * of any rule is to be cut for it.
 */
export function tellStrayErrors(log: Pick<Log, 'error'>): (error: unknown) => void {
  const told = new Set<string>();
  return (error) => {
    const message = errorMessage(error);
    if (told.has(message)) return;
    if (told.size >= mostKinds) told.clear();
    told.add(message);
    log.error({ error: message, stack: error instanceof Error ? error.stack : undefined }, 'internal error; serving all the same');
  };
}
