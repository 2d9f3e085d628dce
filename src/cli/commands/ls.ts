import { call } from '../../control/client.ts';
import type { DestinationRow, EndpointText } from '../../control/shapes.ts';
import type { Context, Input } from '../context.ts';
import { GraceError } from '../../error.ts';
import { connectionCells, connectionColumns, fetchConnections, readOrder } from '../connections.ts';
import type { ConnectionOrder } from '../connections.ts';
import { formatDuration, formatShortly } from '../duration.ts';
import { visible } from '../../one-line.ts';
import { counted, formatSize, paint, printJson, printLine, printNote, printTable } from '../output.ts';
import { readSource } from '../endpoint-text.ts';
import type { Column } from '../output.ts';
import { mergeRows } from '../rows.ts';
import { Rates, watch } from '../watch.ts';
import type { Look } from '../watch.ts';

const columns: readonly Column[] = [
  { title: 'src', mayCut: true },
  { title: 'dst', mayCut: true },
  { title: 'connections', align: 'right' },
  { title: 'status' },
];
const watchColumns: readonly Column[] = [
  ...columns,
  { title: 'new/s', align: 'right' },
  { title: 'in/s', align: 'right' },
  { title: 'out/s', align: 'right' },
];
/** Narrow ones: with usual endpoints a line has room in 100 columns. */
const longColumns: readonly Column[] = [
  { title: 'src', mayCut: true },
  { title: 'dst', mayCut: true },
  { title: 'conns', align: 'right' },
  { title: 'status' },
  { title: 'pid', align: 'right' },
  { title: 'in', align: 'right' },
  { title: 'out', align: 'right' },
  { title: 'age', align: 'right' },
];

/** `grace ls [SRC] [--long] [--connections [--sort BY]] [--watch] [--json]` */
export async function run(context: Context, input: Input): Promise<number> {
  const [typed] = input.args;
  const src = typed === undefined ? null : readSource(typed, context.cwd);
  const isOfConnections = input.has('connections');
  const order = readOrder(input.value('sort'));
  if (!isOfConnections && input.value('sort') !== undefined)
    throw new GraceError('--sort is for a list of connections', {
      hint: 'add --connections',
      code: 'ERR_GRACE_USAGE',
    });
  if (input.has('watch')) {
    const look = isOfConnections ? lookAtConnections(context, { src, order }) : lookAtRules(context, src);
    await watch(context, { look, isJson: input.has('json') });
    return 0;
  }
  if (isOfConnections) return await listConnections(context, { src, order, isJson: input.has('json') });
  const { rows } = await call(context.dir, { command: 'ls', ...(src && { src }) }, { signal: context.signal });
  if (input.has('json')) {
    printJson(context, rows);
    return 0;
  }
  const isNamed = rows.some(({ name }) => name !== undefined);
  const named = (titles: readonly Column[]) => (isNamed ? [...titles, { title: 'name', mayCut: true }] : titles);
  if (input.has('long'))
    await printTable(
      context,
      longColumns,
      rows.map((row) => longCells(context, row)),
    );
  else
    await printTable(
      context,
      named(columns),
      mergeRows(rows).map((row) => [...cells(context, row), visible(row.name ?? '')]),
    );
  if (input.has('long')) for (const line of [...placesOf(rows), ...limitsOf(rows)]) printLine(context.stdout, line);
  for (const note of notesOn(rows)) printNote(context, note);
  return 0;
}

function notesOn(rows: readonly DestinationRow[]): string[] {
  return rows.flatMap(({ src, error, warnings = [] }) => [
    ...(error === undefined ? [] : [`${src} is not served: ${error}`]),
    ...warnings.map((warning) => `${src}: ${warning}`),
  ]);
}

type OfConnections = { src: EndpointText | null; order: ConnectionOrder };

async function listConnections(
  context: Context,
  { isJson, ...which }: OfConnections & { isJson: boolean },
): Promise<number> {
  const { rows, notes } = await fetchConnections(context, which);
  if (isJson) printJson(context, rows);
  else
    await printTable(
      context,
      connectionColumns(rows),
      rows.map((row) => connectionCells(row)),
    );
  for (const note of notes) printNote(context, note);
  return 0;
}

/** The rules, with what they move and accept a second. */
function lookAtRules(context: Context, src: EndpointText | null): () => Promise<Look> {
  const rates = new Rates();
  return async () => {
    const request = { command: 'ls', withAccepted: true, ...(src && { src }) } as const;
    const { rows, accepted = [] } = await call<'ls'>(context.dir, request, { signal: context.signal });
    const merged = mergeRows(rows);
    rates.begin();
    const seen = merged.map((row) => {
      const { count = 0 } = accepted.find((each) => each.src === row.src && each.dst === row.dst) ?? {};
      return { row, rate: rates.of(`${row.src} ${row.dst}`, [row.bytesIn, row.bytesOut, count]) };
    });
    const total = merged.reduce((sum, { connections }) => sum + connections, 0);
    return {
      title: titleOf(counted(total, 'connection')),
      columns: watchColumns,
      rows: seen.map(({ row, rate: [bytesIn = null, bytesOut = null, clients = null] }) => [
        ...cells(context, { ...row, src: row.name ?? row.src }),
        clients === null ? '' : clients.toFixed(clients < 9.95 ? 1 : 0),
        perSecond(bytesIn),
        perSecond(bytesOut),
      ]),
      notes: notesOn(rows),
      json: seen.map(({ row, rate: [bytesInPerSecond, bytesOutPerSecond, connectionsPerSecond] }) => ({
        ...row,
        bytesInPerSecond,
        bytesOutPerSecond,
        connectionsPerSecond,
      })),
    };
  };
}

/** The open connections, with what they move a second. */
function lookAtConnections(context: Context, which: OfConnections): () => Promise<Look> {
  const rates = new Rates();
  return async () => {
    const { rows, notes } = await fetchConnections(context, which);
    rates.begin();
    const seen = rows.map((row) => ({ row, rate: rates.of(row.id, [row.bytesIn, row.bytesOut]) }));
    return {
      title: titleOf(counted(rows.length, 'connection')),
      columns: connectionColumns(rows, true),
      rows: seen.map(({ row, rate: [bytesIn = null, bytesOut = null] }) =>
        connectionCells(row, { bytesIn: perSecond(bytesIn), bytesOut: perSecond(bytesOut) }),
      ),
      notes,
      json: seen.map(({ row, rate: [bytesInPerSecond, bytesOutPerSecond] }) => ({
        ...row,
        bytesInPerSecond,
        bytesOutPerSecond,
      })),
    };
  };
}

function titleOf(text: string): string {
  return `${new Date().toTimeString().slice(0, 8)}  ${text}`;
}

function perSecond(rate: number | null): string {
  return rate === null ? '' : formatSize(rate);
}

function cells(context: Context, row: DestinationRow): string[] {
  const state = status(context, row);
  return [visible(row.src), visible(row.dst), String(row.connections), row.insecure ? `${state}, insecure` : state];
}

function status(context: Context, { active, percent, drainUntil, error, held, waiting = 0 }: DestinationRow): string {
  if (error !== undefined) return paint(context, 'red', 'failed');
  const left = drainUntil === undefined ? null : formatDuration(Math.max(0, Date.parse(drainUntil) - Date.now()));
  const end = left === null ? '' : `, closed in ${left}`;
  const share = percent === undefined ? '' : ` ${percent}%`;
  if (held) return paint(context, 'yellow', `held${share}${waiting === 0 ? '' : `, ${waiting} waiting`}`);
  return active ? paint(context, 'green', `active${share}`) : paint(context, 'yellow', `inactive${end}`);
}

function longCells(context: Context, row: DestinationRow): string[] {
  const ageMs = Math.max(0, Date.now() - Date.parse(row.since));
  return [
    ...cells(context, { ...row, src: row.name ?? row.src }),
    String(row.pid),
    formatSize(row.bytesIn),
    formatSize(row.bytesOut),
    formatShortly(ageMs),
  ];
}

/** What a name stands for, until when a certificate is valid, and where rules listen whose SRC does not say it: a port that the system chose, a name, every address. */
function placesOf(rows: readonly DestinationRow[]): string[] {
  const lines = new Set(
    rows.flatMap(({ src, dst, name, listening, certificateEnds, clientCertificateEnds }) => {
      const place = listening === '' || src.endsWith(listening) ? [] : [`listens on ${visible(listening)}`];
      const end = certificateEnds === undefined ? [] : [`has a certificate until ${certificateEnds.slice(0, 10)}`];
      const toOther =
        clientCertificateEnds === undefined
          ? []
          : [`shows ${visible(dst)} a certificate until ${clientCertificateEnds.slice(0, 10)}`];
      const said = [...(name === undefined ? [] : [`is ${visible(src)}`]), ...place, ...end, ...toOther];
      return said.length === 0 ? [] : [`${visible(name ?? src)} ${said.join(' and ')}`];
    }),
  );
  return lines.size === 0 ? [] : ['', ...lines];
}

/** The limits of each rule, and how many clients were refused for them. */
function limitsOf(rows: readonly DestinationRow[]): string[] {
  const lines = rows.flatMap(({ src, name, limits = {}, refused = {} }) => {
    const said = Object.entries(limits).map(([limit, value]) => `${limit} ${visible(value)}`);
    const counts = Object.entries(refused).flatMap(([reason, count]) => (count > 0 ? [`${count} ${reason}`] : []));
    const ends = counts.length === 0 ? '' : `; refused: ${counts.join(', ')}`;
    return said.length === 0 ? [] : [`${visible(name ?? src)} limits: ${said.join(', ')}${ends}`];
  });
  return lines.length === 0 ? [] : ['', ...lines];
}
