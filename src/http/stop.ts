import { GraceError } from '../error.ts';
import { within } from '../waiting.ts';
import type { WatchedServer } from './drain.ts';

/** Both times are in milliseconds. */
export type StopOptions = {
  /** Milliseconds that connections have to end by themselves. */
  stopTimeout: number;
  /** Milliseconds that closing them may take after that. */
  killTimeout: number;
  /** Ends the patience early. */
  hurry: Promise<void>;
  log: (line: string) => void;
};

/**
 * End servers: stop accepting, let the connections finish, close those that do not.
 *
 * @throws GraceError when connections are open even after `killTimeout`.
 */
export async function stopServers(
  servers: readonly WatchedServer[],
  { stopTimeout, killTimeout, hurry, log }: StopOptions,
): Promise<void> {
  const drained = Promise.all(servers.map((server) => server.drain())).then(() => true);
  if (await within(Promise.race([drained, hurry.then(() => false)]), stopTimeout, { onLate: () => false })) return;

  log(`Closing ${count(servers)} that did not end in time.`);
  for (const server of servers) server.destroy();
  if (await within(drained, killTimeout, { onLate: () => false })) return;
  throw new GraceError(`cannot close ${count(servers)} within ${killTimeout} ms`, { code: 'ERR_GRACE_NOT_CLOSED' });
}

function count(servers: readonly WatchedServer[]): string {
  const open = servers.reduce((sum, server) => sum + server.connections(), 0);
  return open === 1 ? '1 connection' : `${open} connections`;
}
