import { errorMessage } from './error.ts';

/** Kinds of errors that are remembered as told; beyond that each is told again. */
const maxKinds = 100;

/** What is told of an error that nobody has caught. */
export type StrayError = { message: string; stack: string | undefined };

/**
 * What becomes of an error that nobody has caught, out of a timer or an event's handler, once a daemon
 * or its keeper is at work: it is told, once a kind, and traffic goes on. Whatever threw is a mistake,
 * and no connection of any rule is to be cut for it. The handler itself never throws.
 */
export function strayErrors(report: (error: StrayError) => void): (error: unknown) => void {
  const told = new Set<string>();
  return (error) => {
    try {
      const message = errorMessage(error);
      if (told.has(message)) return;
      if (told.size >= maxKinds) told.clear();
      told.add(message);
      report({ message, stack: error instanceof Error ? error.stack : undefined });
    } catch {
      // Not even that can be told.
    }
  };
}
