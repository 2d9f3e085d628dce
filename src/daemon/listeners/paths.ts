import { errorMessage } from '../../error.ts';
import type { Rule } from '../../forward/rule.ts';
import type { Service } from '../service.ts';

/** Time between two looks at the files of Unix sources. */
const lookMs = 10_000;

/**
 * Look after the files of Unix sources, now and for as long as this process serves: one that a cleaner
 * of directories removed is made again. One that is another program's now is told of, and waited for.
 */
export function watchPaths(service: Service): void {
  const { forwarder, listeners, lifecycle } = service;
  const told = new Set<string>();
  const look = () => {
    if (!lifecycle.isServing) return clearInterval(timer);
    if (service.phase !== 'serving') return;
    for (const rule of forwarder.rules) {
      const why = listeners.whyLost(rule.listener);
      if (why === null) told.delete(rule.src.key);
      else void repair(service, { rule, why, told });
    }
  };
  const timer = setInterval(look, lookMs).unref();
  look();
}

async function repair(
  { forwarder, log }: Service,
  { rule: { src }, why, told }: { rule: Rule; why: string; told: Set<string> },
): Promise<void> {
  try {
    if (await forwarder.restoration.repair(src)) log.warn({ src: src.typed }, `${why}: it was made again`);
  } catch (error) {
    if (!told.has(src.key))
      log.error({ src: src.typed, error: errorMessage(error) }, `${why}: clients do not come to this rule`);
    told.add(src.key);
  }
}
