/** The files of networks that rules name (`allow=@FILE`, `deny=@FILE`): read again at HUP, and when they change. */
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage } from '../../error.ts';
import type { Rule } from '../../forward/rule.ts';
import type { Service } from '../service.ts';

/** A file that has changed is read again within two of these, in milliseconds. Events of a file system come for some of them only. */
const lookMs = 1000;

/** Read the files of a rule again. One that is bad is told of, and what was read before holds. Returns whether all is well. */
export function reloadNetworks({ src, admission }: Rule, { log }: Pick<Service, 'log'>): boolean {
  try {
    admission?.reload();
    return true;
  } catch (error) {
    log.error({ src: src.typed, error: errorMessage(error) }, 'networks not read again; the old ones stay');
    return false;
  }
}

/** Read those again that change, until the signal comes. */
export async function followNetworks(
  { forwarder, log, changes }: Pick<Service, 'forwarder' | 'log' | 'changes'>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const rule of forwarder.rules) {
      if (rule.admission?.isStale && reloadNetworks(rule, { log }))
        log.info({ src: rule.src.typed }, 'networks read again');
    }
    // A daemon that has none of them is not to wake for them.
    const hasFiles = forwarder.rules.some(({ admission }) => admission?.hasFiles);
    const next = hasFiles ? delay(lookMs, undefined, { signal, ref: false }) : changes.next(signal);
    await next.catch(() => {}); // the signal
  }
}
