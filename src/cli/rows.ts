/** The rows of `grace ls` as people read them. */
import type { DestinationRow } from '../control/shapes.ts';
import { formatDuration } from './duration.ts';
import { counted } from './output.ts';

/**
 * One row a destination of a rule: those of several processes (older generations of the daemon)
 * become one, with the sum of their connections. Rules stay in order, the active destination of each first.
 */
export function mergeRows(rows: readonly DestinationRow[]): DestinationRow[] {
  const bySource = new Map<string, Map<string, DestinationRow>>();
  for (const row of rows) {
    const destinations = bySource.get(row.src) ?? new Map<string, DestinationRow>();
    bySource.set(row.src, destinations);
    const seen = destinations.get(row.dst);
    destinations.set(row.dst, seen ? mergeRow(seen, row) : row);
  }
  return [...bySource.values()].flatMap((destinations) =>
    [...destinations.values()].sort((a, b) => Number(b.active) - Number(a.active)),
  );
}

function mergeRow(a: DestinationRow, b: DestinationRow): DestinationRow {
  const percent = a.percent ?? b.percent;
  const drainUntil = a.drainUntil ?? b.drainUntil;
  return {
    ...(b.active ? b : a),
    ...(percent !== undefined && { percent }),
    ...(drainUntil !== undefined && { drainUntil }),
    connections: a.connections + b.connections,
    ...(a.held || b.held ? { held: true, waiting: (a.waiting ?? 0) + (b.waiting ?? 0) } : {}),
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    since: a.since < b.since ? a.since : b.since,
  };
}

/** `3 of 5 connections, the oldest 5m 2s old: 2 on tcp:8080 -> tcp:127.0.0.1:9001, 1 on tcp:8081 -> …`; `of` and the oldest where they are given. */
export function describeConnections(
  rows: readonly DestinationRow[],
  { of, oldestMs }: { of?: number | undefined; oldestMs?: number | undefined } = {},
): string {
  const places = mergeRows(rows).map(({ src, dst, connections }) => `${connections} on ${src} -> ${dst}`);
  const total = rows.reduce((sum, row) => sum + row.connections, 0);
  const count = of === undefined ? counted(total, 'connection') : `${total} of ${counted(of, 'connection')}`;
  const oldest = oldestMs === undefined ? '' : `, the oldest ${formatDuration(oldestMs)} old`;
  return `${count}${oldest}: ${places.join(', ')}`;
}
