import { call } from '../../control/client.ts';
import { hostPort } from '../../endpoint/address.ts';
import type { Arrival, StatusResult } from '../../control/shapes.ts';
import { GraceError } from '../../error.ts';
import { isNoDaemon } from '../../kinds.ts';
import type { Context, Input } from '../context.ts';
import { formatDuration } from '../duration.ts';
import { visible } from '../../one-line.ts';
import { counted, formatSize, formatTable, paint, printJson, printLine } from '../output.ts';

/** `grace status [--health] [--json]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, stdout } = context;
  try {
    const result = await call(dir, { command: 'status' }, { signal });
    if (input.has('health')) await mustBeHealthy(context);
    if (input.has('json')) printJson(context, { running: true, ...result });
    else printLine(stdout, await describe(context, result));
    return 0;
  } catch (error) {
    // Who asks for JSON reads the answer from it; the exit code stays 3.
    if (input.has('json') && isNoDaemon(error)) {
      printJson(context, { running: false, dir });
      error.isAnswered = true;
    }
    throw error;
  }
}

/** Throws GraceError when a rule cannot be served. */
async function mustBeHealthy({ dir, signal }: Context): Promise<void> {
  const { rows } = await call(dir, { command: 'ls' }, { signal });
  const failed = rows.flatMap(({ src, error }) => (error === undefined ? [] : [`${src}: ${error}`]));
  if (failed.length > 0)
    throw new GraceError(`${counted(failed.length, 'rule')} cannot be served: ${failed.join('; ')}`, {
      hint: 'it is tried again and again; see: grace ls',
    });
}

async function describe(context: Context, result: StatusResult): Promise<string> {
  const {
    pid,
    version,
    uptimeMs,
    engine,
    engineReason,
    threads,
    memoryBytes,
    restarts,
    lastRestart,
    dir,
    log,
    accessLog,
    rules,
    connections,
    maxconn,
    keeper,
    generations,
    failed = 0,
    admin,
    held = [],
    sources = [],
    services = [],
    problems = [],
    warnings = [],
  } = result;
  const facts = [
    ['status', paint(context, 'green', 'running')],
    ['pid', String(pid)],
    ['version', version],
    ['uptime', formatDuration(uptimeMs)],
    ['engine', engineReason === '' ? engine : `${engine} (${engineReason})`],
    ...(threads === undefined || engineReason.endsWith(` ${threads === 1 ? 'thread' : 'threads'}`)
      ? []
      : [['threads', threads === 0 ? 'none of its own' : String(threads)] as const]),
    ...(memoryBytes === undefined ? [] : [['memory', formatSize(memoryBytes)] as const]),
    ...(restarts === undefined ? [] : [['restarts', String(restarts)] as const]),
    ...(lastRestart === undefined ? [] : [['moved', describeArrival(lastRestart)] as const]),
    ['keeper', keeper ? `pid ${keeper.pid}${keeper.version === version ? '' : ` (${keeper.version})`}` : 'none'],
    ['state dir', visible(dir)],
    ...(log === undefined ? [] : [['log', log === '-' ? 'standard error' : visible(log)] as const]),
    ...(accessLog === undefined
      ? []
      : [['access log', accessLog === '-' ? 'standard output' : visible(accessLog)] as const]),
    ...(admin === undefined ? [] : [['admin', visible(admin)] as const]),
    ['rules', failed > 0 ? `${rules}, ${failed} of them cannot be served: see grace ls` : String(rules)],
    ...sources.map(
      ({ source, staleSince }) =>
        [
          'rules from',
          `${visible(source)}, ${staleSince === undefined ? 'followed' : `stale since ${staleSince}`}`,
        ] as const,
    ),
    ...services.map((service) => ['service', describeService(service)] as const),
    ['connections', maxconn === undefined ? String(connections) : describeMaxconn(connections, maxconn)],
    [
      'generations',
      generations.length > 1 ? `1 serving, ${counted(generations.length - 1, 'older one')} draining` : '1',
    ],
    ...held.map(
      ({ src, since, waiting }) =>
        ['held', `${visible(src)}, ${waiting} waiting, for ${formatDuration(Date.now() - Date.parse(since))}`] as const,
    ),
    ...problems.map((problem) => ['problem', visible(problem)] as const),
    ...warnings.map((warning) => ['warning', visible(warning)] as const),
  ] as const;
  const lines = facts.map(([name, value]) => `${name.padEnd(11)}  ${value}`);
  if (generations.length > 1) lines.push('', await generationTable(generations));
  return lines.join('\n');
}

function describeMaxconn(connections: number, { limit, taken, waits }: NonNullable<StatusResult['maxconn']>): string {
  const often = waits === 0 ? '' : `, accepting paused ${counted(waits, 'time')}`;
  return `${connections} of ${limit} (--maxconn)${taken < limit ? often : `${often}: it is full, and new clients wait`}`;
}

function describeArrival({ moved, movedTls, staying }: Arrival): string {
  const stayed = staying.reduce((sum, { connections }) => sum + connections, 0);
  const reasons = staying.map(({ connections, why }) => `${connections} ${why}`).join(', ');
  const rest = stayed === 0 ? '' : `; ${stayed} stayed: ${visible(reasons)}`;
  return `${counted(moved, 'connection')} (${movedTls} with TLS) at the last restart${rest}`;
}

/** Most targets of a service that are named. */
const maxTargets = 8;

function describeService({ name, targets }: NonNullable<StatusResult['services']>[number]): string {
  const named = targets.slice(0, maxTargets).map(({ host, port }) => visible(hostPort({ host, port })));
  const more = targets.length > maxTargets ? [`${targets.length - maxTargets} more`] : [];
  return `${visible(name)} is ${targets.length === 0 ? 'nowhere' : [...named, ...more].join(', ')}`;
}

function generationTable(generations: StatusResult['generations']): Promise<string> {
  return formatTable(
    [
      { title: 'pid', align: 'right' },
      { title: 'version' },
      { title: 'connections', align: 'right' },
      { title: 'since' },
    ],
    generations.map(({ pid, version, connections, since }) => [String(pid), version, String(connections), since]),
  );
}
