import { errorMessage } from '../../error.ts';
import type { Rule } from '../../forward/rule.ts';
import type { Service } from '../service.ts';

/** Time between two looks at the files of Unix sources. */
const lookMs = 2000;

/** Time between two attempts to make one again that could not be: each looks whether somebody answers there. */
const retryMs = 10_000;

/**
 * Look after the files of Unix sources, now and for as long as this process serves: one that a cleaner
 * of directories removed is made again. One that cannot be, since its directory is gone too or another program has its
 * place, is told of, tried again and again, and its rule counts as failed meanwhile.
 */
export function watchPaths(service: Service): void {
  const { forwarder, listeners, lifecycle, changes } = service;
  const tried = new Map<string, number>();
  const look = () => {
    if (!lifecycle.isServing) return clearInterval(timer);
    if (service.phase !== 'serving') return;
    for (const rule of forwarder.rules) {
      const why = listeners.whyLost(rule.listener);
      const { key } = rule.src;
      if (why === null) {
        if (tried.delete(key)) changes.notify();
      } else if (performance.now() - (tried.get(key) ?? -Infinity) >= retryMs)
        void repair(service, { rule, why, tried });
    }
  };
  const timer = setInterval(look, lookMs).unref();
  look();
}

async function repair(
  { forwarder, log, changes }: Service,
  { rule: { src }, why, tried }: { rule: Rule; why: string; tried: Map<string, number> },
): Promise<void> {
  try {
    if (await forwarder.restoration.repair(src)) log.warn({ src: src.typed }, `${why}: it was made again`);
  } catch (error) {
    const isTold = tried.has(src.key);
    tried.set(src.key, performance.now());
    if (isTold) return;
    log.error({ src: src.typed, error: errorMessage(error) }, `${why}: clients do not come to this rule`);
    changes.notify();
  }
}
