/** The rules of a daemon that starts: from the state dir, from its predecessor, and those that have to wait. */
import { setTimeout as delay } from 'node:timers/promises';
import type { GenerationReport } from '../../control/shapes.ts';
import { checkClient, checkServer } from '../../endpoint/check.ts';
import { speaksTls } from '../../endpoint/inner.ts';
import { suspectsAmong } from '../../endpoint/suspects.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { specsOf } from '../../forward/routing.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import type { GivenRule } from '../../control/given-rules.ts';
import type { AdoptedRule } from '../../forward/adoption.ts';
import type { HandedTrial, Handover } from '../handover/messages.ts';
import { Breaks, nextPause } from '../../waiting.ts';
import type { PauseRange } from '../../waiting.ts';
import type { Service } from '../service.ts';
import { readRouting, readRule, readSource, readTarget } from './specs.ts';
import { logTrial } from './trial.ts';
import { loadCounters } from '../state/counters-file.ts';
import { loadState, saveState } from '../state/rules-file.ts';
import type { StoredRule, LoadedState } from '../state/rules-file.ts';

/** First and longest pause before a stored rule that could not be served is tried again. */
const retryMs: PauseRange = { first: 500, max: 30_000 };

/** Serve the stored rules. One that cannot be served now is told of, stays stored, and is tried again. Returns what older generations had said when counters were last written down. */
export async function restoreRules(
  service: Service,
  given: readonly GivenRule[],
  note: (text: string) => void,
): Promise<readonly GenerationReport[]> {
  const state = loadRules(service);
  if (state.note) note(state.note);
  if (state.isPart)
    await saveState(service.paths.state, state.rules).catch((error: unknown) => note(errorMessage(error)));
  const counters = loadCounters(service.paths.counters);
  if (counters.counts) service.book.addEnded(counters.counts);
  if (counters.hasCrashed) service.book.count('crashes');
  const readable = (await withGiven(service, state.rules, given)).flatMap((stored) => {
    const rule = tryToRead(service, stored, note);
    return rule ? [{ rule, stored }] : [];
  });
  const isSuspect = suspectsAmong(readable.map(({ rule }) => leadingOf(rule)));
  for (const { rule, stored } of readable) {
    service.listeners.prefer(rule.src, stored.port);
    const ofShare = rule.share && counters.of({ src: rule.src, dst: rule.share.dst });
    if (rule.share && ofShare) service.forwarder.restoration.carry({ src: rule.src, dst: rule.share.dst }, ofShare);
    const problem = await service.forwarder.restoration.restore(rule, {
      carried: counters.of(rule),
      isToBeChecked: isSuspect(leadingOf(rule)),
    });
    if (problem) note(`cannot forward ${rule.src.typed} to ${rule.dst.typed} for now: ${problem.message}`);
  }
  return counters.generations;
}

function leadingOf(rule: RuleSpec): Parameters<ReturnType<typeof suspectsAmong>>[0] {
  return { src: rule.src.endpoint, dsts: specsOf(rule).map(({ endpoint }) => endpoint) };
}

/** The stored rules with those that the command line names, which are stored as well. A given one stands in place of a stored one on its address. */
async function withGiven(
  { paths }: Service,
  stored: readonly StoredRule[],
  given: readonly GivenRule[],
): Promise<readonly StoredRule[]> {
  if (given.length === 0) return stored;
  const taken = new Set(given.map((rule) => readRule(rule).src.listenKey));
  const rules = [...stored.filter((rule) => !taken.has(placeOf(rule))), ...given];
  await saveState(paths.state, rules);
  return rules;
}

function placeOf({ src }: StoredRule): string {
  try {
    return readSource(src).listenKey;
  } catch {
    return ''; // of another version: it is told of when it is to be served
  }
}

/** Those of the state dir; after a crash, where that is gone or cannot be read, those that the keeper holds. */
function loadRules({ paths, listeners }: Service): LoadedState {
  const inMemory = listeners.stored.rulesCopy;
  if (inMemory === null) return loadState(paths.state);
  const fromMemory = (why: string): LoadedState => ({
    rules: [...inMemory],
    note: `${why}; the rules that were served before the crash are served`,
  });
  try {
    const state = loadState(paths.state);
    return state.isMissing && inMemory.length > 0 ? { ...fromMemory(`${paths.state} is gone`), isPart: true } : state;
  } catch (error) {
    return fromMemory(errorMessage(error)); // and the file is left alone: it may be another version's
  }
}

/** A rule that this version does not understand stays as it is, for one that does, and told of. */
function tryToRead(service: Service, stored: StoredRule, note: (text: string) => void): RuleSpec | null {
  try {
    return readRule(stored);
  } catch (error) {
    service.unread.push(stored);
    note(`a rule in ${service.paths.state} is not served: ${errorMessage(error)}`);
    return null;
  }
}

/** Serve what the predecessor hands over. Throws GraceError, before anything is accepted, when a part of it cannot be served. */
export function adoptRules(service: Service, handover: Handover): void {
  service.unread.push(...(handover.unread ?? []));
  const rules = handover.rules.map((handed) => ({
    ...handed,
    rule: readRule(handed),
    trial: handed.trial && readTrial(handed.trial),
    others: handed.others?.map((other) => ({ ...other, dst: readTarget(other.dst) })),
  }));
  // What can fail fails before the first rule accepts: a client accepted here would be lost with this process.
  for (const { rule } of rules) {
    if (speaksTls(rule.src.endpoint)) checkServer(rule.src.endpoint);
    for (const dst of specsOf(rule)) checkClient(dst.endpoint, { paths: false }); // one that is too long is told to each client, as before
  }
  for (const {
    rule,
    listener,
    addresses: _addresses,
    src: _src,
    dst: _dst,
    share: _share,
    hold,
    ...carried
  } of rules) {
    if (listener === null)
      service.forwarder.restoration.addBroken(rule, new GraceError('it could not be served before the restart'));
    else {
      const inherited = service.listeners.handedOver(rule.src, listener);
      service.forwarder.adoption.adoptRule(rule, inherited, { ...carried, maxWaiting: hold?.maxWaiting });
      if (hold) service.holds.takeOver(rule.src, hold);
    }
    logTrial(service, rule.src);
  }
  const addressesOf = new Map(rules.flatMap(({ rule, addresses }) => (addresses ? [[rule.src.key, addresses]] : [])));
  service.forwarder.adoption.reserveAddresses(({ key }) => {
    const addresses = addressesOf.get(key);
    return addresses === undefined ? null : [addresses];
  });
}

function readTrial({ before, watched, leftMs }: HandedTrial): AdoptedRule['trial'] {
  return { before: readRouting(before), watched: readTarget(watched), leftMs };
}

/** Try the rules that could not be served again, less and less often. Returns what ends that. */
export function retryBroken(service: Service): () => void {
  const end = new AbortController();
  // Replaced or stopping, there is nothing left to try.
  void retryWhile(service, end.signal).catch(
    (error: unknown) =>
      void (
        end.signal.aborted ||
        service.log.error(
          { error: errorMessage(error) },
          'internal error; rules that could not be served are not tried again',
        )
      ),
  );
  return () => end.abort();
}

async function retryWhile(service: Service, signal: AbortSignal): Promise<never> {
  const { forwarder, changes, log } = service;
  for (let pauseMs = retryMs.first; ; pauseMs = nextPause(pauseMs, retryMs)) {
    while (forwarder.broken.length === 0) {
      pauseMs = retryMs.first;
      await changes.next(signal);
    }
    await delay(pauseMs, undefined, { signal });
    const breaks = new Breaks();
    for (const { spec } of forwarder.broken) {
      if (service.phase !== 'serving') break;
      if (await forwarder.restoration.retry(spec))
        log.info({ src: spec.src.typed, dst: spec.dst.typed }, 'rule is served again');
      await breaks.take();
    }
  }
}
