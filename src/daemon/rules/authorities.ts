/** The files of destinations with TLS: whom they are trusted by, and who we are to them. They are read again at HUP. */
import { errorMessage } from '../../error.ts';
import type { Rule } from '../../forward/rule.ts';
import type { Service } from '../service.ts';

/** Read those again that new connections of a rule are made with. What is bad is told of, and what was read before holds. Returns whether all is well. */
export function reloadDestinations({ src, routed }: Rule, { log }: Pick<Service, 'log'>): boolean {
  let areWell = true;
  for (const { spec, upstream } of routed) {
    try {
      upstream.reload();
    } catch (error) {
      areWell = false;
      log.error({ src: src.typed, dst: spec.typed, error: errorMessage(error) }, NOT_RELOADED);
    }
  }
  return areWell;
}

const NOT_RELOADED = 'files of the destination not read again; the old ones stay';
