import type { Request, Result } from '../../control/messages.ts';
import { isRuleName } from '../../control/rule-name.ts';
import type { RequestContext } from '../../control/server.ts';
import { checkPath, checkServer } from '../../endpoint/check.ts';
import { quoted } from '../../endpoint/error.ts';
import { GraceError, errorMessage } from '../../error.ts';
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
  const rule = readRule(request);
  const { name } = rule.src;
  if (name !== undefined && !isRuleName(name))
    throw new GraceError(`${quoted(name)} is no name of a rule`, { code: 'ERR_GRACE_USAGE' });
  checkPath(rule.dst.endpoint);
  const isUpsert = request.switch === true;
  const before = isUpsert ? service.forwarder.rules.find(({ src }) => src.listenKey === rule.src.listenKey) : undefined;
  if (before && before.src.key !== rule.src.key) checkServer(rule.src.endpoint);
  // Whoever asks over HTTP wants to know, also of a rule that is new, or there already.
  const isChecked =
    typeof request.check === 'object' || (before !== undefined && before.current.spec.key !== rule.dst.key);
  try {
    if (isChecked)
      await mustPass(service, rule, { check: request.check ?? false, verb: before ? 'switch' : 'start', signal });
    mustServe(service);
    await restoreKeeper(service);
    const changed = await service.forwarder.start(rule, { isUpsert });
    if (changed && before) await service.holds.switched(rule.src);
    if (changed) service.log.info({ src: rule.src.typed, dst: rule.dst.typed }, 'rule started');
    const told = changed && !before ? await notesOn(service, rule.dst, signal) : [];
    // A server that is to come has its name already.
    const [ofName, ofDestination] = [told.filter(isOfAbsentName), told.filter((note) => !isOfAbsentName(note))];
    const notes = changed ? [...service.certificates.look(rule), ...ofName] : [];
    return { changed, notes, ofDestination };
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
