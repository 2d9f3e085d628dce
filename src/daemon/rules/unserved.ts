import type { Service } from '../service.ts';
import type { SourceSpec } from '../../forward/rule.ts';

/** Shortest time between two looks of whoever follows that, in milliseconds: a look at a thousand files is not for each of a thousand changes. */
export const settleMs = 100;

/**
 * The rules that clients do not come to at the moment, and why: those that could not be opened, and those whose
 * listener is lost, since its file or directory is gone or another program's. Whatever says how many rules fail
 * (`status`, metrics, the file `ready`, the service manager) asks here, and so agrees with `ls`.
 */
export function unservedRules({
  forwarder,
  listeners,
}: Pick<Service, 'forwarder' | 'listeners'>): { src: SourceSpec; why: string }[] {
  const broken = forwarder.broken.map(({ spec, error }) => ({ src: spec.src, why: error.message }));
  const lost = forwarder.rules.flatMap(({ src, listener }) => {
    const why = listeners.whyLost(listener);
    return why === null ? [] : [{ src, why }];
  });
  return [...broken, ...lost];
}
