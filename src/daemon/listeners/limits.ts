/** The limit of open descriptors (getrlimit(2), RLIMIT_NOFILE): a rule takes a few, a connection two or more. */
import { GraceError, errorCode } from '../../error.ts';
import { fdLimit } from '../../sys/process.ts';

const hint =
  'raise the limit of open files (ulimit -n, or LimitNOFILE= of a systemd unit) for the daemon, and start it anew';

/** How many descriptors rules leave to connections and to a restart: so many, or a quarter of a very small limit. */
const reserve = { count: 64n, share: 4n };

/**
 * Throws GraceError when a new listener is so high among the descriptors that those below leave no
 * room for its clients: the system gives the lowest that is free.
 */
export function mustLeaveRoom(fd: number): void {
  const { soft } = fdLimit();
  const kept = soft / reserve.share < reserve.count ? soft / reserve.share : reserve.count;
  if (BigInt(fd) < soft - kept) return;
  throw new GraceError(`there are too few open files left: the limit is ${soft}, and connections need some`, { hint });
}

/** As `limitHint` of sys/, of a daemon that is to have more: a limit holds from its start on. */
export function daemonLimitHint(error: unknown): string | undefined {
  return ['EMFILE', 'ENFILE'].includes(errorCode(error) ?? '') ? hint : undefined;
}
