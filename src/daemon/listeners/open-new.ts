/** Opening a socket for a rule where there is none yet. */
import { daemonLimitHint, mustLeaveRoom } from './limits.ts';
import { listenerName } from './name.ts';
import { userTimeoutOf } from './spec.ts';
import { GraceError, errorCode } from '../../error.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { Listener } from '../../net/listener.ts';
import type { Net } from '../../net/net.ts';
import type { ListenSpec } from '../../net/open.ts';
import { removeSocketPath } from '../../net/unix-path.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import { setUserTimeout } from '../../sys/socket.ts';

type OpenOptions = {
  net: Net;
  spec: ListenSpec;
  /** With `port 0`, the port to use if it is free. */
  preferredPort: number | undefined;
  /** Which rule listens on what, as it was typed. */
  users: ReadonlyMap<Listener, string>;
};

/** Listen as a source says. Throws GraceError when that cannot be, or would leave connections too few descriptors. */
export async function openNew(src: SourceSpec, options: OpenOptions): Promise<Listener> {
  if (userTimeoutOf(src) > 0 && !hasLinuxCalls)
    throw new GraceError(`cannot listen on ${src.typed}: userTimeout needs Linux`, { hint: 'leave it out' });
  const listener = await listen(src, options).catch((error: unknown) => {
    throw error instanceof GraceError && error.hint === undefined
      ? new GraceError(error.message, { hint: daemonLimitHint(error.cause), cause: error.cause })
      : error;
  });
  try {
    mustLeaveRoom(listener.fd);
    if (userTimeoutOf(src) > 0) setUserTimeout(listener.fd, userTimeoutOf(src));
    return listener;
  } catch (error) {
    removeSocketPath(listener);
    listener.close();
    throw error instanceof GraceError
      ? new GraceError(`cannot listen on ${src.typed}: ${error.message}`, { hint: error.hint, cause: error })
      : error;
  }
}

async function listen(src: SourceSpec, { net, spec, preferredPort, users }: OpenOptions): Promise<Listener> {
  const name = listenerName(src);
  if (preferredPort !== undefined && spec.kind === 'tcp' && spec.port === 0) {
    try {
      return await net.listen({ ...spec, port: preferredPort }, { name });
    } catch (error) {
      if (!(error instanceof GraceError)) throw error; // taken by somebody else: any port will do
    }
  }
  try {
    return await net.listen(spec, { name });
  } catch (error) {
    throw withWhoIsThere(error, spec, users);
  }
}

/** Who is in the way may be another rule, which the system knows as this process. */
function withWhoIsThere(error: unknown, spec: ListenSpec, users: ReadonlyMap<Listener, string>): unknown {
  if (!(error instanceof GraceError) || errorCode(error.cause) !== 'EADDRINUSE' || spec.kind !== 'tcp') return error;
  const [, other] =
    [...users].find(
      ([listener]) => listener.isOpen && listener.address.family !== 'unix' && listener.address.port === spec.port,
    ) ?? [];
  if (other === undefined) return error;
  return new GraceError(error.message, {
    hint: other.startsWith('--')
      ? `${other} has that port`
      : `${other} is forwarded and has that port; to stop it: grace stop ${other}`,
    cause: error.cause,
  });
}
