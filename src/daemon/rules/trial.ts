/** A switch that is on trial, as the daemon tells of it. */
import type { DestinationSpec } from '../../forward/destination.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { Trial } from '../../forward/trial.ts';
import { GraceError } from '../../error.ts';
import { unlessAborted } from '../../waiting.ts';
import type { Service } from '../service.ts';

/** Log how the trial of a rule goes, if it has one; whoever asked for it need not stay. */
export function logTrial({ forwarder, log }: Pick<Service, 'forwarder' | 'log'>, src: SourceSpec): void {
  const trial = forwarder.trialOf(src);
  if (trial === null) return;
  const context = { src: src.typed, dst: trial.destination.spec.typed };
  void trial.outcome.then(
    (outcome) => {
      if (outcome.result === 'rolled back')
        log.error({ ...context, back: trial.before.current.spec.typed, why: outcome.why }, 'switch rolled back');
      else log.info({ ...context, result: outcome.result }, 'trial of a switch is over');
    },
    () => {}, // a successor goes on with it, and tells
  );
}

/** Resolves when the trial has passed. Rejects with GraceError: exit code 5 when it was rolled back. */
export async function mustPassTrial(
  trial: Trial,
  { src, dst, signal }: { src: SourceSpec; dst: DestinationSpec; signal: AbortSignal },
): Promise<void> {
  const outcome = await unlessAborted(trial.outcome, signal);
  switch (outcome.result) {
    case 'passed':
      return;
    case 'rolled back':
      throw new GraceError(`rolled back: ${src.typed} does not go to ${dst.typed}: ${outcome.why}`, {
        hint: `new connections go to ${trial.before.current.spec.typed} again; open ones stay where they are`,
        code: 'ERR_GRACE_NOT_ACCEPTED',
      });
    case 'superseded':
      throw new GraceError(`${src.typed} was changed by another command while ${dst.typed} was watched`, {
        hint: 'where it goes now: grace ls',
      });
  }
}
