/** The services that rules lead to: what was known of them before, and who is told when no name server answers. */
import type { Logger } from 'pino';
import { directOf, innermost } from '../../endpoint/inner.ts';
import type { ClientEndpoint } from '../../endpoint/model.ts';
import type { Names } from '../../engine/lookup.ts';
import { serviceKey, Services } from '../../engine/services.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import { loadServices, saveServices } from '../state/services-file.ts';
import type { Troubles } from '../troubles.ts';

/** What a daemon has for it. */
export type RuleServicesOptions = {
  names: Names;
  /** The file that outlives this process. */
  path: string;
  /** Whether this process serves, and the file is its. */
  mayWrite: () => boolean;
  destinations: () => readonly DestinationSpec[];
  troubles: Troubles;
  log: Pick<Logger, 'info'>;
};

/** The services of a daemon. */
export function openRuleServices({
  names,
  path,
  mayWrite,
  destinations,
  troubles,
  log,
}: RuleServicesOptions): Services {
  return new Services({
    names,
    remembered: loadServices(path),
    changed: (services) => {
      if (!mayWrite()) return;
      troubles.attempt('where services are cannot be written down for a start without name servers', () =>
        saveServices(path, services),
      );
    },
    troubled: (name, why) => troubles.set(`connections to srv:${name} go where it was last`, why),
    recovered: (name) => log.info({ service: name }, 'a name server answers again'),
    isUsed: (key) => destinations().some(({ endpoint }) => leadsTo(endpoint, key)),
  });
}

function leadsTo(endpoint: ClientEndpoint, key: string): boolean {
  return directOf(endpoint)
    .map(innermost)
    .some((inner) => inner.type === 'srv' && serviceKey(inner) === key);
}
