import { isDarwin } from '../sys/constants.ts';
import { isNonBlocking, setNonBlocking } from '../sys/descriptor.ts';
import { receiveTimeout, setReceiveTimeout } from '../sys/socket.ts';

/** The kernel's shortest: it rounds up to a tick of its clock. */
const MOMENT_MS = 1;

/**
 * Start a child that inherits descriptors, and leave their modes as they were.
 *
 * Deno's child makes what it inherits blocking before it executes the program (seen in 2.9). The flag
 * belongs to the open file: whoever then accepts on the socket and finds nothing, be it a thread of this
 * process or a predecessor that has not ended yet, would sit in accept(2) for ever. So an accept on
 * these listeners gives up after a moment (SO_RCVTIMEO) until the flag is set again.
 *
 * @param start returns when the child executes the program, as both runtimes' spawn does
 */
export function keepModes<T>(
  { listeners, others }: { listeners: readonly number[]; others: readonly number[] },
  start: () => T,
): T {
  if (!('Deno' in globalThis)) return start();
  const fds = [...listeners, ...others];
  const modes = fds.map(isNonBlocking);
  const timeouts = isDarwin ? [] : listeners.map(receiveTimeout);
  for (const index of timeouts.keys()) setReceiveTimeout(listeners[index]!, MOMENT_MS);
  try {
    return start();
  } finally {
    for (const [index, fd] of fds.entries()) setNonBlocking(fd, modes[index]!);
    for (const [index, timeout] of timeouts.entries()) setReceiveTimeout(listeners[index]!, timeout);
  }
}
