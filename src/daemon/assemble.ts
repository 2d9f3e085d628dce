/** Puts the parts of a daemon together; none of them does anything yet. */
import type { StatePaths } from '../control/paths.ts';
import type { Admin } from './admin/admin.ts';
import { EndedGenerations } from './generations/ended.ts';
import { Generations } from './generations/generations.ts';
import { HandoverState } from './handover/state.ts';
import type { Launcher } from './launcher.ts';
import { Lifecycle } from './lifecycle.ts';
import { Listeners } from './listeners/listeners.ts';
import { AccessLog } from './log/access-log.ts';
import type { AccessLogPlace } from './log/access-log.ts';
import { observeConnections } from './log/observe.ts';
import type { Logs } from './log/observe.ts';
import type { OpenedLog } from './log/log.ts';
import type { DaemonOptions } from './options.ts';
import { Certificates } from './rules/certificates.ts';
import { logDrained } from './rules/drain.ts';
import { Holds } from './rules/holds.ts';
import { hopsOf, placesOf } from './rules/loops.ts';
import { mustHearNames } from '../endpoint/hear-names.ts';
import { mustNotLoop, placesWritten } from '../endpoint/loops.ts';
import type { Resolve } from '../endpoint/loops.ts';
import { openRuleServices } from './rules/services.ts';
import { RuleSources } from './rules/sources.ts';
import { textOf, textOfRouting } from './rules/specs.ts';
import { Followers } from './requests/followers.ts';
import type { Service } from './service.ts';
import { CountersWriter } from './state/counters-file.ts';
import { saveState } from './state/rules-file.ts';
import type { StoredRule } from './state/rules-file.ts';
import { RulesCopy } from './state/rules-memory.ts';
import { Tickets } from './state/tickets-memory.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import { Book } from './metrics/book.ts';
import { Troubles } from './troubles.ts';
import { Names } from '../engine/lookup.ts';
import { openEngine, readWantedTls } from '../engine/open.ts';
import { TotalSlots } from '../engine/total-slots.ts';
import { errorMessage } from '../error.ts';
import { Changes } from '../forward/changes.ts';
import { Forwarder } from '../forward/forwarder.ts';
import { specsOf } from '../forward/routing.ts';
import type { RuleSpec } from '../forward/rule.ts';
import type { Lock } from '../sys/lock.ts';

/** What is there before the parts that work with it. */
export type Parts = {
  options: DaemonOptions;
  launcher: Launcher;
  paths: StatePaths;
  listeners: Listeners;
  lock: Lock;
  logFile: OpenedLog;
  /** Null: no access log. */
  accessPlace: AccessLogPlace | null;
  supervisor: Supervisor;
  admin: Admin | null;
  generation: number;
};

/** Longest that a name is looked up to see whether a rule leads to itself, in milliseconds; one that is not found by then is taken for another machine's. */
const loopLookupMs = 2000;

/** The parts of a daemon, which know each other from here on. */
export function assemble({
  options,
  launcher,
  paths,
  listeners,
  lock,
  logFile,
  accessPlace,
  supervisor,
  admin,
  generation,
}: Parts): Service {
  const { log, output } = logFile;
  const now = new Date().toISOString();
  const began = performance.now();
  const { handover } = launcher;
  // A predecessor of an earlier version says only at which time of the clock it began, which may have been set since.
  const earlierMs = handover ? Math.max(0, handover.uptimeMs ?? Date.now() - Date.parse(handover.startedAt)) : 0;
  const changes = new Changes();
  const lifecycle = new Lifecycle(changes);
  const onFailure = (error: Error) =>
    log.error(
      { error: errorMessage(error) },
      'the native engine failed; its connections are lost, and the portable engine goes on',
    );
  const names = new Names();
  const unread: StoredRule[] = [];
  const troubles = new Troubles((text) => log.warn({ trouble: text }, 'serving all the same'), {
    phase: () => lifecycle.phase,
  });
  const services = openRuleServices({
    names,
    path: paths.services,
    mayWrite: () => lifecycle.isServing || lifecycle.isStopping,
    destinations: () => forwarder.specs.flatMap((spec) => specsOf(spec)),
    troubles,
    log,
  });
  const tickets = new Tickets({ snapshot: handover?.tickets ?? listeners.stored.ticketsCopy, supervisor, troubles });
  const total = options.settings.maxconn === null ? null : new TotalSlots({ limit: options.settings.maxconn });
  // Nobody is accepted before the predecessor has said how many it has.
  if (handover) total?.reserve(total.limit);
  const opened = openEngine({
    wanted: options.settings.engine,
    tls: readWantedTls(options.env),
    threads: options.settings.threads,
    names,
    services,
    tickets: tickets.ring,
    total,
    onFailure,
    onTlsUnusable: (why) =>
      log.warn({ why }, 'the native engine cannot speak TLS here; clients with TLS are served by the portable engine'),
  });
  const { engine } = opened;
  const rulesCopy = new RulesCopy(supervisor, troubles);
  const forwarder: Forwarder = new Forwarder({
    engine,
    total,
    changes,
    openListener: (src) => listeners.open(src),
    check: async ({ src, dst, listener: { address } }, served, { isStored }) => {
      mustHearNames(src, dst);
      const places: Resolve = (endpoint) =>
        placesOf(endpoint, { names, services, signal: AbortSignal.timeout(loopLookupMs) }).catch(() => []);
      await mustNotLoop({ src, dst, address }, hopsOf(served), isStored ? placesWritten : places);
    },
    closeListener: (src, listener) => listeners.close(src, listener),
    describeListener: (listener, change) => listeners.describe(listener, change),
    isLost: (listener) => listeners.whyLost(listener) !== null,
    replaceListener: (before) => listeners.discard(before),
    save: async (rules) => {
      const stored = [...rules.map((rule) => storedRule(rule, listeners)), ...unread];
      await saveState(paths.state, stored);
      rulesCopy.remember(stored);
    },
    drained: (src, destination, result) => logDrained(log, src, destination, result),
    observe: (src) => observeConnections(logs, src),
  });
  const book = new Book(forwarder.ledger, { waits: () => total?.waits ?? 0 });
  const accessLog =
    accessPlace &&
    new AccessLog({
      place: accessPlace,
      counted: (what, lines) => book.count(what === 'written' ? 'access log lines' : 'access log lines lost', lines),
      troubled: (trouble) => troubles.set('the access log cannot be written', trouble),
    });
  const logs: Logs = {
    log,
    accessLog,
    accessLogFormat: options.settings['access-log-format'],
    generation,
    nameOf: (upstream) => forwarder.ledger.nameOf(upstream),
  };
  const endedGenerations = new EndedGenerations(forwarder.adoption, book);
  const generations = new Generations({
    paths,
    changes,
    onEnded: (report) => {
      endedGenerations.ended(report);
      counters.write();
    },
  });
  const counters = new CountersWriter({
    path: paths.counters,
    forwarder,
    generations,
    book,
    hasEnded: () => lifecycle.phase === 'ended',
    mayWrite: () => lifecycle.isServing || lifecycle.isStopping,
  });
  return {
    paths,
    log,
    logOutput: output,
    logProblem: () => logFile.problem,
    logLoss: () => logFile.loss,
    troubles,
    rulesCopy,
    tickets,
    lock,
    changes,
    listeners,
    engine,
    total,
    services,
    get engineReason() {
      return opened.reason();
    },
    forwarder,
    generations,
    endedGenerations,
    book,
    accessLog,
    counters,
    admin,
    certificates: new Certificates({ log, specs: () => forwarder.specs }),
    // Nobody is left to say when those go on who wait in a process that was replaced.
    followers: new Followers(
      () => void (lifecycle.phase === 'replaced' && forwarder.holding.settle(() => true, { isHeld: false })),
    ),
    sources: new RuleSources(),
    holds: new Holds({ forwarder, engine, changes, log, generations, lifecycle }),
    version: options.version,
    self: options.self,
    socketGroup: options.settings['socket-group'],
    startedAt: handover?.startedAt ?? now,
    uptimeMs: () => earlierMs + Math.round(performance.now() - began),
    processStartedAt: now,
    supervisor,
    flags: options.flags,
    generation,
    lifecycle,
    get phase() {
      return lifecycle.phase;
    },
    handover: new HandoverState(lifecycle, changes),
    unread,
    takeOver() {},
  };
}

/** A rule as the state dir and the keeper have it. */
export function storedRule({ src, ...routing }: RuleSpec, listeners: Listeners): StoredRule {
  return { src: textOf(src), ...textOfRouting(routing), port: listeners.chosenPort(src) };
}
