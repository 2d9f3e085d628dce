import { standardError } from '../../control/log-place.ts';
import { optionsOfWords } from '../../control/daemon-options.ts';
import type { Result } from '../../control/messages.ts';
import { totalWaits } from '../metrics/book.ts';
import { problemOfExecutable } from '../executable.ts';
import { unservedRules } from '../rules/unserved.ts';
import type { Service } from '../service.ts';
import { allRows, generationRows, ownRows } from './rows.ts';

/** How the daemon is, with all its generations. */
export async function status(service: Service): Promise<Result<'status'>> {
  await service.generations.refresh();
  const { forwarder, paths, version, logOutput, admin } = service;
  const held = forwarder.rules.filter((rule) => rule.hold.isOn);
  const rows = held.length === 0 ? [] : allRows(service);
  const generations = generationRows(service);
  return {
    pid: process.pid,
    version,
    uptimeMs: service.uptimeMs(),
    engine: service.engine.name,
    engineReason: service.engineReason,
    threads: service.engine.threads ?? 0,
    memoryBytes: process.memoryUsage.rss(),
    restarts: service.generation - 1,
    ...(service.handover.arrival && { lastRestart: service.handover.arrival }),
    dir: paths.dir,
    log: logOutput.kind === 'file' ? logOutput.path : standardError,
    ...accessLogOf(service),
    options: optionsOfWords(service.flags),
    keeper: service.supervisor.keeper,
    ...(admin?.address === undefined ? {} : { admin: admin.address }),
    problems: problemsOf(service),
    ...sourcesOf(service),
    ...servicesOf(service),
    warnings: ownRows(service).flatMap(({ row }) => (row.warnings ?? []).map((warning) => `${row.src}: ${warning}`)),
    rules: forwarder.specs.length,
    held: held.map(({ src }) => ({
      src: src.typed,
      since: service.holds.since(src) ?? '',
      waiting: rows.reduce((sum, { row }) => sum + (row.src === src.typed ? (row.waiting ?? 0) : 0), 0),
    })),
    failed: unservedRules(service).length,
    connections: generations.reduce((sum, { connections }) => sum + connections, 0),
    ...maxconnOf(service),
    generations,
  };
}

/** What the daemon goes on without, a sentence each. */
export function problemsOf({ troubles, logProblem, logLoss, self }: Service): string[] {
  const log = logProblem();
  const loss = logLoss();
  const executable = problemOfExecutable(self);
  return [
    ...(log === null ? [] : [`the log goes to standard error: ${log}`]),
    ...(loss === null ? [] : [`the log cannot be written: ${loss}`]),
    ...troubles.texts,
    ...(executable === null ? [] : [executable]),
  ];
}

/** The limit of all connections, if there is one. */
function maxconnOf({ total, book, generations }: Service): Pick<Result<'status'>, 'maxconn'> {
  if (total === null) return {};
  const { daemon } = book.total(generations.reports);
  return { maxconn: { limit: total.limit, taken: total.taken, waits: daemon[totalWaits] ?? 0 } };
}

/** Where rules are followed, if that is done. */
function sourcesOf({ sources }: Service): Pick<Result<'status'>, 'sources'> {
  if (sources.rows.length === 0) return {};
  return {
    sources: sources.rows.map(({ source, staleSince, problem }) => ({
      source,
      ...(staleSince !== undefined && { staleSince }),
      ...(problem !== undefined && { problem }),
    })),
  };
}

/** Where the services of `srv` destinations are, if there are some. */
function servicesOf({ services: { known } }: Service): Pick<Result<'status'>, 'services'> {
  if (known.length === 0) return {};
  return {
    services: known.map(({ name, targets }) => ({
      name,
      targets: targets.map(({ host, port, priority, weight, addresses }) => ({
        host,
        port,
        priority,
        weight,
        addresses: [...addresses],
      })),
    })),
  };
}

/** Where the access log goes, if there is one. */
function accessLogOf({ accessLog }: Service): { accessLog?: string } {
  if (accessLog === null) return {};
  return { accessLog: accessLog.place.kind === 'file' ? accessLog.place.path : '-' };
}
