import { standardError } from '../../control/log-place.ts';
import { redirectTo, redirectToLog } from '../../control/standard-streams.ts';
import type { Parts } from '../assemble.ts';
import { consoleName } from '../listeners/listeners.ts';
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
