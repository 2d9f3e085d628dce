import type { Request, Result } from '../../control/messages.ts';
import { isRuleName } from '../../control/rule-name.ts';
import type { RequestContext } from '../../control/server.ts';
import { checkPath, checkServer } from '../../endpoint/check.ts';
import { quoted } from '../../endpoint/error.ts';
import { GraceError, errorMessage } from '../../error.ts';
import type { Rule, RuleSpec } from '../../forward/rule.ts';
import { readRule } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import { isOfAbsentName, mustPass, notesOn } from './destination-check.ts';
import { mustNotStop, mustServe } from './handler.ts';
import { restoreKeeper } from './restart.ts';

/** Forward, or change, a rule. A daemon that was started for a rule which then fails ends. */
export async function start(
  service: Service,
  request: Request<'start'>,
  { signal }: RequestContext<'start'>,
): Promise<Result<'start'>> {
  mustNotStop(service);
  const isUpsert = request.switch === true;
  const { rule, before } = readStart(service, request, { isUpsert });
  // Whoever asks over HTTP wants to know, also of a rule that is new, or there already.
  const isChecked =
    typeof request.check === 'object' || (before !== undefined && before.current.spec.key !== rule.dst.key);
  try {
    if (isChecked)
      await mustPass(service, rule, { check: request.check ?? false, verb: before ? 'switch' : 'start', signal });
    mustServe(service);
    await restoreKeeper(service);
    const changed = await service.forwarder.start(rule, { isUpsert });
    const ofRule = changed ? await started(service, { rule, before }) : [];
    const told = changed && !before ? await notesOn(service, rule.dst, signal) : [];
    // A server that is to come has its name already.
    const [ofName, ofDestination] = [told.filter(isOfAbsentName), told.filter((note) => !isOfAbsentName(note))];
    return { changed, notes: [...ofRule, ...ofName], ofDestination };
  } catch (error) {
    service.log.warn({ src: rule.src.typed, dst: rule.dst.typed, error: errorMessage(error) }, 'rule not started');
    const isUnused =
      service.phase === 'serving' &&
      !service.forwarder.hasRules &&
      !service.forwarder.isChanging &&
      service.unread.length === 0;
    if (request.startedForIt && isUnused && service.generations.reports.length === 0) {
      service.lifecycle.ends();
    }
    throw error;
  }
}

/** A rule that is to be started, and the one that is served on its address, if that is to be changed. */
export type StartedRule = { rule: RuleSpec; before: Rule | undefined };

/** What is to be started, checked as far as can be at once. Throws GraceError. */
export function readStart(
  { forwarder }: Pick<Service, 'forwarder'>,
  request: Pick<Request<'start'>, 'src' | 'dst'>,
  { isUpsert }: { isUpsert: boolean },
): StartedRule {
  const rule = readRule(request);
  const { name } = rule.src;
  if (name !== undefined && !isRuleName(name))
    throw new GraceError(`${quoted(name)} is no name of a rule`, { code: 'ERR_GRACE_USAGE' });
  checkPath(rule.dst.endpoint);
  const before = isUpsert ? forwarder.servedAt(rule.src) : undefined;
  if (before && before.src.key !== rule.src.key) checkServer(rule.src.endpoint);
  return { rule, before };
}

/** What follows when a rule has been started or changed. Returns what is to be said of it. */
export async function started(service: Service, { rule, before }: StartedRule): Promise<string[]> {
  if (before) await service.holds.switched(rule.src);
  service.log.info({ src: rule.src.typed, dst: rule.dst.typed }, 'rule started');
  // A destination that the rule had before has the specification of then.
  return [...service.certificates.look(service.forwarder.servedAt(rule.src)?.spec ?? rule)];
}
