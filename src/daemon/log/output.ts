import { standardError } from '../../control/log-place.ts';
import { redirectTo, redirectToLog } from '../../control/standard-streams.ts';
import type { Parts } from '../assemble.ts';
import { consoleName, standardOutputName } from '../handover/descriptors.ts';
import type { AccessLogPlace } from './access-log.ts';
import type { LogOutput } from './log.ts';
import { dupFd } from '../../sys/descriptor.ts';

/** A descriptor of its own for what is standard error now: a successor's leads to its predecessor until it serves. */
export function outputOf(
  place: string,
  { paths, launcher, listeners }: Pick<Parts, 'paths' | 'launcher' | 'listeners'>,
): LogOutput {
  const passed = launcher.handover ? listeners.net.extras.find(({ name }) => name === consoleName)?.fd : undefined;
  const fd = passed ?? dupFd(2);
  if (place !== standardError) return { kind: 'file', path: place, spare: fd };
  // A predecessor of before this was passed had its log in the file.
  return launcher.handover && passed === undefined
    ? { kind: 'file', path: paths.log, spare: fd }
    : { kind: 'console', fd };
}

/** What this process prints from now on, in a crash for example, goes where its log goes. */
export function settleStreams(output: LogOutput): void {
  if (output.kind === 'console') return redirectTo(output.fd);
  try {
    redirectToLog(output.path);
  } catch {
    redirectTo(output.spare); // the log itself has told why
  }
}

/** Where the access log goes: its file, or the standard output that the first process had; null for none. */
export function accessPlaceOf(
  place: string | null,
  { launcher, listeners }: Pick<Parts, 'launcher' | 'listeners'>,
): AccessLogPlace | null {
  if (place === null) return null;
  if (place !== standardError) return { kind: 'file', path: place };
  const passed = listeners.net.extras.find(({ name }) => name === standardOutputName)?.fd;
  // That of a successor leads to its predecessor, and that of a daemon in the background to the client that started it.
  return {
    kind: 'console',
    fd: (launcher.handover ? passed : undefined) ?? dupFd(launcher.kind === 'foreground' ? 1 : 2),
  };
}
