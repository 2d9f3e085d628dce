import type { Request } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import type { RuleSource } from '../rules/sources.ts';
import type { Service } from '../service.ts';
import { whileServing } from './handler.ts';

/** Who follows rules in etcd says how that goes: it holds, for `status`, log and metrics, for as long as the request does. */
export async function sayFollowed(
  service: Service,
  { source, sequence, problem, staleSince }: Request<'rules-source'>,
  { signal, progress }: RequestContext<'rules-source'>,
): Promise<never> {
  const { sources, troubles, log, generation, version } = service;
  const row: RuleSource = { source, sequence, problem, staleSince };
  const before = sources.rows.find((each) => each.source === source);
  const what = `rules of ${source}`;
  if (sources.set(row)) {
    const text = troubleOf(row);
    if (text !== null) troubles.add(what, text);
    else troubles.remove(what);
    if (text === null && (before === undefined || troubleOf(before) !== null))
      log.info({ source }, 'rules are followed');
  }
  progress({ generation, pid: process.pid, version });
  try {
    return await whileServing(service, signal);
  } finally {
    if (sources.isLast(row)) {
      sources.remove(row);
      troubles.remove(what);
    }
  }
}

/** A sentence for `status` and the log; null where all is well. */
function troubleOf({ source, problem, staleSince }: RuleSource): string | null {
  if (staleSince !== undefined)
    return `the rules are stale since ${staleSince}, and stay as they are: ${problem ?? `${source} does not answer`}`;
  return problem === undefined ? null : `the rules are not all that ${source} says: ${problem}`;
}
