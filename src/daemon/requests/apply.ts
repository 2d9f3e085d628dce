/** Many changes of rules at once: what `grace apply` asks for. */
import type { Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { Breaks } from '../../waiting.ts';
import type { Service } from '../service.ts';
import { mustPass } from './destination-check.ts';
import { drain } from './drain.ts';
import { mustNotStop, mustServe } from './handler.ts';
import { restoreKeeper } from './restart.ts';
import { sourceIfAny } from './source.ts';
import { readStart, started } from './start.ts';
import type { StartedRule } from './start.ts';

/** Changes of one kind, in order up to the first that fails; how many were made is told first. */
export async function applyChanges(
  service: Service,
  request: Request<'apply'>,
  context: RequestContext<'apply'>,
): Promise<Result<'apply'>> {
  mustNotStop(service);
  return request.verb === 'stop'
    ? await stopRules(service, request, context)
    : await startRules(service, request, context);
}

async function startRules(
  service: Service,
  { verb, rules, check }: Request<'apply'>,
  { signal, progress }: RequestContext<'apply'>,
): Promise<Result<'apply'>> {
  const isUpsert = verb === 'switch';
  const [read, unreadable] = upToFailure(rules, ({ src, dst }) => {
    if (dst === undefined) throw new GraceError(`${src.typed} is to lead nowhere`);
    return readStart(service, { src, dst }, { isUpsert });
  });
  const [fit, unfit] = isUpsert ? await thoseThatPass(service, read, { check, signal }) : [read, null];
  mustServe(service);
  await restoreKeeper(service);
  const specs = fit.map(({ rule }) => rule);
  const outcomes = await service.forwarder.startMany(specs, { isUpsert });
  const notes: string[] = [];
  const breaks = new Breaks();
  let made = 0;
  let failure: unknown = unfit ?? unreadable;
  for (const [index, outcome] of outcomes.entries()) {
    const one = fit[index]!;
    if (outcome.status === 'rejected') {
      const { src, dst } = one.rule;
      service.log.warn({ src: src.typed, dst: dst.typed, error: errorMessage(outcome.reason) }, 'rule not started');
      failure = outcome.reason;
      break;
    }
    if (outcome.value) notes.push(...(await started(service, one)));
    made++;
    await breaks.take();
  }
  progress({ made, notes });
  if (failure !== null) throw failure;
  return { closed: 0 };
}

/** Those whose destinations accept, up to the first whose does not, and why that is. */
async function thoseThatPass(
  service: Service,
  all: readonly StartedRule[],
  { check, signal }: { check: boolean; signal: AbortSignal },
): Promise<[StartedRule[], unknown]> {
  const failures = await Promise.all(
    all.map(async ({ rule, before }) => {
      if (before === undefined || before.current.spec.key === rule.dst.key) return null;
      return await mustPass(service, rule, { check, verb: 'switch', signal }).then(
        () => null,
        (error: unknown) => ({ error }),
      );
    }),
  );
  const first = failures.findIndex((failure) => failure !== null);
  return first < 0 ? [[...all], null] : [all.slice(0, first), failures[first]!.error];
}

async function stopRules(
  service: Service,
  { rules, timeoutMs }: Request<'apply'>,
  { progress }: RequestContext<'apply'>,
): Promise<Result<'apply'>> {
  // Of a request that is made again after a restart some may be stopped already.
  const sources = rules.flatMap(({ src }) => sourceIfAny(service, src) ?? []);
  const outcomes = await service.forwarder.stopMany(sources);
  await service.supervisor.settled();
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  const destinations = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
  const stopped = sources.slice(0, failed ? outcomes.indexOf(failed) : sources.length);
  for (const src of stopped) service.log.info({ src: src.typed }, 'rule stopped');
  progress({ made: failed ? stopped.length : rules.length, notes: [] });
  if (failed) throw failed.reason;
  const remaining = new Set(service.generations.reports.flatMap((report) => report.rows.map(({ srcKey }) => srcKey)));
  const olders = stopped.filter(({ key }) => remaining.has(key));
  const closed = await Promise.all([
    drain(destinations, timeoutMs),
    ...olders.map(({ key: srcKey }) => service.generations.stop({ srcKey, timeoutMs })),
  ]);
  return { closed: closed.reduce((sum, each) => sum + each, 0) };
}

/** What is made of these, up to the first of which nothing can be, and why that is; null: of all. */
function upToFailure<S, T>(subjects: readonly S[], make: (subject: S) => T): [made: T[], failure: unknown] {
  const made: T[] = [];
  try {
    for (const subject of subjects) made.push(make(subject));
    return [made, null];
  } catch (error) {
    return [made, error];
  }
}
