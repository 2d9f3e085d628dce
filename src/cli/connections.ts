/** The open connections as people read them. */
import { call } from '../control/client.ts';
import { connectionOrders } from '../control/commands/connections.ts';
import type { ConnectionRow, EndpointText } from '../control/shapes.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';
import type { Context } from './context.ts';
import { formatShortly } from './duration.ts';
import { visible } from '../one-line.ts';
import { formatSize } from './output.ts';
import type { Column } from './output.ts';

/** What the list is sorted by. */
export type ConnectionOrder = (typeof connectionOrders)[number];

/** A value of `--sort`; the oldest first without one. Throws GraceError (exit code 2) for anything else. */
export function readOrder(text: string | undefined): ConnectionOrder {
  const order = connectionOrders.find((each) => each === (text ?? 'age'));
  if (order !== undefined) return order;
  throw new GraceError(`--sort takes ${connectionOrders.join(', ')}, not ${quoted(text ?? '')}`, {
    code: 'ERR_GRACE_USAGE',
  });
}

/** Every open connection, of one rule or of all, in the order that is wanted; and what was not told of. */
export async function fetchConnections(
  { dir, signal }: Context,
  { src, order }: { src: EndpointText | null; order: ConnectionOrder },
): Promise<{ rows: ConnectionRow[]; notes: readonly string[] }> {
  const rows: ConnectionRow[] = [];
  const request = { command: 'connections', ...(src === null ? {} : { src }) } as const;
  const onProgress = ({ connections }: { connections: readonly ConnectionRow[] }) => void rows.push(...connections);
  const { notes } = await call<'connections'>(dir, request, { signal, onProgress });
  // A daemon that was replaced meanwhile is asked again from the beginning.
  const whole = [...new Map(rows.map((row) => [row.id, row])).values()];
  const compare = comparisons[order];
  return { rows: whole.sort((a, b) => compare(a, b) || compareIds(a.id, b.id)), notes };
}

const comparisons: Record<ConnectionOrder, (a: ConnectionRow, b: ConnectionRow) => number> = {
  age: (a, b) => b.age - a.age,
  idle: (a, b) => b.idle - a.idle,
  in: (a, b) => b.bytesIn - a.bytesIn,
  out: (a, b) => b.bytesOut - a.bytesOut,
  client: (a, b) => a.client.localeCompare(b.client, 'en', { numeric: true }),
};

/** What is alike stays where it was when one asks again: numbers are given in the order in which a thread accepts. */
function compareIds(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : 1);
}

/** The columns that these rows need. Those without a rate have how much there was in all. */
export function connectionColumns(rows: readonly ConnectionRow[], isRate = false): Column[] {
  const hasTls = rows.some(({ tls }) => tls !== undefined);
  const isChosen = rows.some(({ to }) => to !== undefined);
  return [
    { title: 'id' },
    { title: 'client', mayCut: true },
    { title: 'src', mayCut: true },
    { title: 'dst', mayCut: true },
    { title: 'age', align: 'right' },
    { title: 'idle', align: 'right' },
    { title: isRate ? 'in/s' : 'in', align: 'right' },
    { title: isRate ? 'out/s' : 'out', align: 'right' },
    { title: 'state' },
    { title: 'pid', align: 'right' },
    ...(hasTls || isChosen ? [{ title: 'tls', mayCut: true }] : []),
    ...(isChosen ? [{ title: 'to', mayCut: true }] : []),
  ];
}

/** The cells of a row, for `connectionColumns`; with rates in place of how much there was in all. */
export function connectionCells(row: ConnectionRow, rates?: { bytesIn: string; bytesOut: string }): string[] {
  const { id, client, src, name, dst, age, idle, state, pid } = row;
  const { bytesIn, bytesOut } = rates ?? { bytesIn: formatSize(row.bytesIn), bytesOut: formatSize(row.bytesOut) };
  return [
    visible(id),
    visible(client),
    visible(name ?? src),
    visible(dst),
    formatShortly(age * 1000),
    formatShortly(idle * 1000),
    bytesIn,
    bytesOut,
    visible(state),
    String(pid),
    visible(describeTls(row)),
    visible(row.to ?? ''),
  ];
}

/** `TLSv1.3 X25519`, and of the destination's side after an arrow. */
function describeTls({ tls, dstTls, serverName }: ConnectionRow): string {
  if (typeof serverName === 'string' && tls === undefined) return `for ${serverName}`;
  const describe = (facts: ConnectionRow['tls']) =>
    facts === undefined ? '' : `${facts.version} ${facts.group ?? facts.cipher}`;
  const isOnlyOfDst = tls !== undefined && JSON.stringify(tls) === JSON.stringify(dstTls);
  const ofClient = describe(tls);
  const ofDst = describe(dstTls);
  if (ofDst === '') return ofClient;
  return isOnlyOfDst ? `-> ${ofDst}` : `${ofClient} -> ${ofDst}`;
}
