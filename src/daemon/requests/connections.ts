/** Open connections: which there are, in every generation, and closing those that are meant. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { readClientAddress } from '../../control/client-address.ts';
import type { Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import type { ConnectionRow, Selection } from '../../control/shapes.ts';
import type { OpenConnection } from '../../engine/engine.ts';
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
  const answers = await service.generations.ask({ command: 'generation-connections', selection }, progress);
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
  const { id, client, state, startedMs, idleMs, bytesIn, bytesOut, clientTls, upstreamTls } = connection;
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
