/** Open connections: which there are, in every generation, and closing those that are meant. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { readClientAddress } from '../../control/client-address.ts';
import type { Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import type { ConnectionRow, DestinationRow, Selection } from '../../control/shapes.ts';
import type { OpenConnection } from '../../engine/engine.ts';
import { fieldAt } from '../../engine/tally.ts';
import type { DestinationView } from '../../forward/table.ts';
import type { Service } from '../service.ts';

/** Connections that are told at once; other requests come in between. */
const ROWS_PER_MESSAGE = 500;

type Own = Pick<Service, 'forwarder' | 'engine'>;
type Found = { view: DestinationView; connection: OpenConnection };

/** Tell of the connections that are meant, of this process and of the older ones. */
export async function listConnections(
  service: Service,
  selection: Selection,
  { signal, progress }: RequestContext<'connections'>,
): Promise<Result<'connections'>> {
  await tellOwn(service, selection, { signal, progress });
  const answers = await service.generations.ask(
    { command: 'generation-connections', selection },
    { onProgress: progress },
  );
  return { notes: answers.flatMap(({ pid, problem }) => (problem ? [unheard(pid, problem)] : [])) };
}

/** Tell of the connections of this process that are meant. */
export async function tellOwn(
  service: Own,
  selection: Selection,
  { signal, progress }: Pick<RequestContext<'generation-connections'>, 'signal' | 'progress'>,
): Promise<Result<'generation-connections'>> {
  const rows = (await findOwn(service, selection)).map(rowOf);
  for (let at = 0; at < rows.length; at += ROWS_PER_MESSAGE) {
    signal.throwIfAborted();
    progress({ connections: rows.slice(at, at + ROWS_PER_MESSAGE) });
    await nextTurn();
  }
  return { notes: [] };
}

/** Close the connections that are meant, in this process and in the older ones. */
export async function closeConnections(service: Service, selection: Selection): Promise<Result<'close'>> {
  const [{ closed }, answers] = await Promise.all([
    closeOwn(service, selection),
    service.generations.ask({ command: 'generation-close', selection }),
  ]);
  return {
    closed: answers.reduce((sum, { result }) => sum + (result?.closed ?? 0), closed),
    notes: answers.flatMap(({ pid, problem }) => (problem ? [unheard(pid, problem)] : [])),
  };
}

/** Close the connections of this process that are meant. */
export async function closeOwn(
  service: Own & Pick<Service, 'log'>,
  selection: Selection,
): Promise<Result<'generation-close'>> {
  const found = await findOwn(service, selection);
  if (found.length === 0) return { closed: 0 };
  const upstreams = new Set(found.map(({ connection }) => connection.upstream));
  const ids = found.map(({ connection }) => connection.id);
  const closed = await service.engine.closeConnections([...upstreams], ids);
  service.log.info({ closed }, 'connections closed');
  return { closed };
}

function unheard(pid: number, problem: string): string {
  return `the older process ${pid} does not answer for its connections: ${problem}`;
}

async function findOwn({ forwarder, engine }: Own, selection: Selection): Promise<Found[]> {
  const { srcKey, dstKey, client, idleMs, ids } = selection;
  const views = forwarder
    .views()
    .filter(({ src, destination }) => isOr(srcKey, src.key) && isOr(dstKey, destination.spec.key));
  const byUpstream = new Map(views.map((view) => [view.destination.upstream, view]));
  const isClient = client === undefined ? null : readClientAddress(client);
  const wanted = ids && new Set(ids);
  const connections = await engine.connections([...byUpstream.keys()]);
  return connections
    .filter(
      (each) =>
        (isClient?.(each.client) ?? true) &&
        (wanted?.has(each.id) ?? true) &&
        (idleMs === undefined || each.idleMs >= idleMs),
    )
    .map((connection) => ({ connection, view: byUpstream.get(connection.upstream)! }));
}

function isOr(wanted: string | undefined, key: string): boolean {
  return wanted === undefined || wanted === key;
}

function rowOf({ view: { src, destination }, connection }: Found): ConnectionRow {
  const { id, client, state, startedMs, idleMs, bytesIn, bytesOut, chosen, clientTls, upstreamTls } = connection;
  const tls = clientTls ?? upstreamTls;
  const ageMs = Math.max(0, Date.now() - startedMs);
  return {
    id,
    src: src.typed,
    ...(src.name === undefined ? {} : { name: src.name }),
    dst: destination.spec.typed,
    client,
    state,
    age: seconds(ageMs),
    // The two have different clocks.
    idle: seconds(Math.min(idleMs, ageMs)),
    bytesIn,
    bytesOut,
    pid: process.pid,
    ...(chosen && { serverName: chosen.name, to: chosen.to }),
    ...(tls && { tls }),
    ...(upstreamTls && { dstTls: upstreamTls }),
  };
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds) / 1000;
}

/** What `close` means. */
export function selectionOf(
  { client, idleMs, ids }: Request<'close'>,
  keys: Pick<Selection, 'srcKey' | 'dstKey'>,
): Selection {
  return {
    ...keys,
    ...(client === undefined ? {} : { client }),
    ...(idleMs === undefined ? {} : { idleMs }),
    ...(ids === undefined ? {} : { ids }),
  };
}

/** More than these are not looked through for the oldest. */
const MAX_LOOKED_THROUGH = 5000;

/** The age of the oldest connection to an earlier destination, in every generation; nothing where there are too many. `waiting`: their rows. */
export async function oldestOf(
  service: Service,
  srcKey: string | null,
  waiting: readonly DestinationRow[],
): Promise<{ oldestMs?: number }> {
  const total = waiting.reduce((sum, { connections }) => sum + connections, 0);
  if (total === 0 || total > MAX_LOOKED_THROUGH) return {};
  const upstreams = service.forwarder
    .views()
    .filter(({ src, isCurrent }) => !isCurrent && (srcKey === null || src.key === srcKey))
    .map(({ destination }) => destination.upstream);
  const own = await service.engine.connections(upstreams);
  const ages = own.map(({ startedMs }) => Date.now() - startedMs);
  const older = new Set(waiting.filter(({ pid }) => pid !== process.pid).map(({ src, dst }) => `${src} ${dst}`));
  if (older.size > 0)
    await service.generations.ask(
      { command: 'generation-connections', selection: srcKey === null ? {} : { srcKey } },
      {
        onProgress: ({ connections }) => {
          for (const { src, dst, age } of connections) if (older.has(`${src} ${dst}`)) ages.push(age * 1000);
        },
      },
    );
  return ages.length === 0 ? {} : { oldestMs: Math.max(0, ...ages) };
}

/** Clients that this process has accepted so far, by destination. */
export function acceptedBy({ forwarder }: Pick<Service, 'forwarder'>): { src: string; dst: string; count: number }[] {
  return forwarder.views().map(({ src, destination }) => ({
    src: src.typed,
    dst: destination.spec.typed,
    count: destination.upstream.tally()[fieldAt('accepted')] ?? 0,
  }));
}
