import { call } from '../../control/client.ts';
import type { DestinationRow } from '../../control/shapes.ts';
import type { Context, Input } from '../context.ts';
import { formatDuration } from '../duration.ts';
import { formatSize, formatTable, paint, printJson, printLine, printNote, visible } from '../output.ts';
import { readSource } from '../endpoint-text.ts';
import type { Column } from '../output.ts';
import { mergeRows } from '../rows.ts';

const columns: readonly Column[] = [
  { title: 'src' },
  { title: 'dst' },
  { title: 'connections', align: 'right' },
  { title: 'status' },
];
/** Narrow ones: with usual endpoints a line has room in 100 columns. */
const longColumns: readonly Column[] = [
  { title: 'src' },
  { title: 'dst' },
  { title: 'conns', align: 'right' },
  { title: 'status' },
  { title: 'pid', align: 'right' },
  { title: 'in', align: 'right' },
  { title: 'out', align: 'right' },
  { title: 'age', align: 'right' },
];

/** `grace ls [SRC] [--long] [--json]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, cwd } = context;
  const [typed] = input.args;
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
  const text = input.has('long')
    ? formatTable(
        longColumns,
        rows.map((row) => longCells(context, row)),
      )
    : formatTable(
        named(columns),
        mergeRows(rows).map((row) => withName(row, cells(context, row))),
      );
  printLine(context.stdout, await text);
  if (input.has('long')) for (const line of placesOf(rows)) printLine(context.stdout, line);
  for (const { src, error, warnings = [] } of rows) {
    if (error !== undefined) printNote(context, `${src} is not served: ${error}`);
    for (const warning of warnings) printNote(context, `${src}: ${warning}`);
  }
  return 0;
}

function cells(context: Context, { src, dst, connections, active, error }: DestinationRow): string[] {
  return [visible(src), visible(dst), String(connections), status(context, { active, error })];
}

function status(context: Context, { active, error }: { active: boolean; error: string | undefined }): string {
  if (error !== undefined) return paint(context, 'red', 'failed');
  return active ? paint(context, 'green', 'active') : paint(context, 'yellow', 'inactive');
}

function longCells(context: Context, row: DestinationRow): string[] {
  const ageMs = Math.max(0, Date.now() - Date.parse(row.since));
  const [age = ''] = formatDuration(ageMs).split(' ');
  return [
    ...cells(context, { ...row, src: row.name ?? row.src }),
    String(row.pid),
    formatSize(row.bytesIn),
    formatSize(row.bytesOut),
    age,
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
