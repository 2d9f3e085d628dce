import { call } from '../../control/client.ts';
import type { DestinationRow } from '../../control/shapes.ts';
import type { Context, Input } from '../context.ts';
import { GraceError } from '../../error.ts';
import { connectionCells, connectionColumns, fetchConnections, readOrder } from '../connections.ts';
import { formatShortly } from '../duration.ts';
import { formatSize, paint, printJson, printLine, printNote, printTable, visible } from '../output.ts';
import { readSource } from '../endpoint-text.ts';
import type { Column } from '../output.ts';
import { mergeRows } from '../rows.ts';

const columns: readonly Column[] = [
  { title: 'src', mayCut: true },
  { title: 'dst', mayCut: true },
  { title: 'connections', align: 'right' },
  { title: 'status' },
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

/** `grace ls [SRC] [--long] [--connections [--sort BY]] [--json]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, cwd } = context;
  const [typed] = input.args;
  if (input.has('connections')) return await listConnections(context, input);
  if (input.value('sort') !== undefined)
    throw new GraceError('--sort is for a list of connections', {
      hint: 'add --connections',
      code: 'ERR_GRACE_USAGE',
    });
  const { rows } = await call(
    dir,
    { command: 'ls', ...(typed === undefined ? {} : { src: readSource(typed, cwd) }) },
    { signal },
  );
  if (input.has('json')) {
    printJson(context, rows);
    return 0;
  }
  const isNamed = rows.some(({ name }) => name !== undefined);
  const named = (titles: readonly Column[]) => (isNamed ? [...titles, { title: 'name' }] : titles);
  const withName = ({ name }: DestinationRow, texts: string[]) => (isNamed ? [...texts, visible(name ?? '')] : texts);
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
      mergeRows(rows).map((row) => withName(row, cells(context, row))),
    );
  if (input.has('long')) for (const line of [...placesOf(rows), ...limitsOf(rows)]) printLine(context.stdout, line);
  for (const { src, error, warnings = [] } of rows) {
    if (error !== undefined) printNote(context, `${src} is not served: ${error}`);
    for (const warning of warnings) printNote(context, `${src}: ${warning}`);
  }
  return 0;
}

async function listConnections(context: Context, input: Input): Promise<number> {
  const [typed] = input.args;
  const src = typed === undefined ? null : readSource(typed, context.cwd);
  const { rows, notes } = await fetchConnections(context, { src, order: readOrder(input.value('sort')) });
  if (input.has('json')) printJson(context, rows);
  else await printTable(context, connectionColumns(rows), rows.map(connectionCells));
  for (const note of notes) printNote(context, note);
  return 0;
}

function cells(context: Context, row: DestinationRow): string[] {
  return [visible(row.src), visible(row.dst), String(row.connections), status(context, row)];
}

function status(context: Context, { active, percent, error }: DestinationRow): string {
  if (error !== undefined) return paint(context, 'red', 'failed');
  const share = percent === undefined ? '' : ` ${percent}%`;
  return active ? paint(context, 'green', `active${share}`) : paint(context, 'yellow', 'inactive');
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

/** What a name stands for, and where rules listen whose SRC does not say it: a port that the system chose, a name, every address. */
function placesOf(rows: readonly DestinationRow[]): string[] {
  const lines = new Set(
    rows.flatMap(({ src, name, listening }) => {
      const place = listening === '' || src.endsWith(listening) ? [] : [`listens on ${visible(listening)}`];
      const said = name === undefined ? place : [`is ${visible(src)}`, ...place];
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
