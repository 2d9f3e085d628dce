import type { DestinationRow, GenerationReport, GenerationRow, KeyedRow } from '../../control/shapes.ts';
import { specsOf } from '../../forward/routing.ts';
import type { Admission } from '../../engine/admission/admission.ts';
import { directOf } from '../../endpoint/inner.ts';
import type { ClientEndpoint } from '../../endpoint/model.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { DestinationView } from '../../forward/table.ts';
import { formatAddress } from '../../net/listener.ts';
import type { Service } from '../service.ts';
import { withoutUnused } from '../metrics/counts.ts';
import { limitsInForce } from './limits.ts';

/** What tells whether a row is of the rule that is asked for; null asks for all. */
type WantedRule = string | null;

function isMeant(srcKey: string, wanted: WantedRule): boolean {
  return wanted === null || srcKey === wanted;
}

/** The destinations of this process. `active` is only right in the process that serves. */
export function ownRows(
  { forwarder, listeners, certificates }: Pick<Service, 'forwarder' | 'listeners' | 'certificates'>,
  wanted: WantedRule = null,
): KeyedRow[] {
  const isWanted = ({ src }: { src: SourceSpec }) => isMeant(src.key, wanted);
  const admissions = new Map(forwarder.rules.filter(isWanted).map(({ src, admission }) => [src, admission]));
  const views = forwarder.views().filter(isWanted);
  const served = views.map((view) => {
    const admission = view.isCurrent ? (admissions.get(view.src) ?? null) : null;
    const spec = { src: view.src, dst: view.destination.spec };
    const warnings = view.isCurrent ? [...certificates.of(spec)] : [];
    const ends = view.isCurrent ? certificates.endsOf(spec) : null;
    if (admission !== null && admission.problem !== null)
      warnings.push(`the networks of before hold: ${admission.problem}`);
    return keyedRow(view, {
      lost: view.isCurrent && view.listener ? listeners.whyLost(view.listener) : null,
      warnings,
      admission,
      certificateEnds: ends?.source,
      clientCertificateEnds: ends?.destination,
    });
  });
  const unserved = forwarder.broken.filter(({ spec }) => isWanted(spec));
  const broken = unserved.map(({ spec, error, since }): KeyedRow => ({
    srcKey: spec.src.key,
    dstKey: spec.dst.key,
    row: {
      src: spec.src.typed,
      ...nameOf(spec.src),
      dst: spec.dst.typed,
      connections: 0,
      active: false,
      pid: process.pid,
      bytesIn: 0,
      bytesOut: 0,
      since,
      listening: '',
      error: error.message,
    },
  }));
  return [...served, ...broken];
}

type RowOptions = {
  lost?: string | null;
  warnings?: readonly string[];
  admission?: Admission | null;
  certificateEnds?: string | null | undefined;
  clientCertificateEnds?: string | null | undefined;
};

function keyedRow(
  { src, destination, isCurrent, percent, listener, hold }: DestinationView,
  { lost = null, warnings = [], admission = null, certificateEnds, clientCertificateEnds }: RowOptions = {},
): KeyedRow {
  const { connections, bytesIn, bytesOut } = destination.stats();
  const drainMs = isCurrent ? null : destination.drainLeftMs;
  const row: DestinationRow = {
    src: src.typed,
    ...nameOf(src),
    dst: destination.spec.typed,
    connections,
    active: isCurrent,
    ...(percent === null ? {} : { percent }),
    ...(drainMs === null || connections === 0 ? {} : { drainUntil: new Date(Date.now() + drainMs).toISOString() }),
    pid: process.pid,
    bytesIn,
    bytesOut,
    since: destination.since,
    listening: listener ? formatAddress(listener.address) : '',
    ...(hold?.isOn ? { held: true, waiting: hold.waiting } : {}),
    ...(lost === null ? {} : { error: lost }),
    ...(warnings.length === 0 ? {} : { warnings: [...warnings] }),
    ...(isCurrent && { limits: limitsInForce(src.endpoint, destination.spec) }),
    ...(admission && { refused: { ...admission.refused } }),
    ...(certificateEnds ? { certificateEnds } : {}),
    ...(clientCertificateEnds ? { clientCertificateEnds } : {}),
    ...(isInsecure(destination.spec.endpoint) ? { insecure: true as const } : {}),
  };
  return { srcKey: src.key, dstKey: destination.spec.key, row };
}

function isInsecure(endpoint: ClientEndpoint): boolean {
  if (endpoint.type === 'sni') return directOf(endpoint).some(isInsecure);
  if (endpoint.type !== 'ssl' && endpoint.type !== 'tls') return false;
  return (
    endpoint.insecure === true ||
    (endpoint.type === 'tls' && endpoint.endpoint !== null && isInsecure(endpoint.endpoint))
  );
}

function nameOf({ name }: SourceSpec): { name?: string } {
  return name === undefined ? {} : { name };
}

/** All rows, or those of the rule with this key: those of this process, then those of the older generations that still have connections. */
export function allRows(
  service: Pick<Service, 'forwarder' | 'generations' | 'listeners' | 'certificates'>,
  wanted: WantedRule = null,
): KeyedRow[] {
  const current = new Set(
    service.forwarder.specs
      .filter(({ src }) => isMeant(src.key, wanted))
      .flatMap((spec) => specsOf(spec).map(({ key }) => pairKey(spec.src.key, key))),
  );
  const reports = service.generations.reports.map((report) => ({
    ...report,
    rows: report.rows.filter(({ srcKey }) => isMeant(srcKey, wanted)),
  }));
  const older = reports
    .flatMap((report) => report.rows)
    .filter(({ row }) => row.connections > 0)
    .map((keyed) => ({ ...keyed, row: { ...keyed.row, active: current.has(keyOf(keyed)) } }));
  const drained = reports
    .filter(({ isRest }) => isRest)
    .flatMap((report) => report.rows)
    .filter(({ row }) => row.connections === 0);
  const drainedOf = Map.groupBy(drained, keyOf);
  const own = ownRows(service, wanted).map((keyed) => withBytes(keyed, drainedOf.get(keyOf(keyed)) ?? []));
  return inRuleOrder([...own, ...older]);
}

/** What an older generation moved for a destination that has drained there has no row of its own. */
function withBytes(keyed: KeyedRow, drained: readonly KeyedRow[]): KeyedRow {
  const row = drained.reduce(
    (sum, each) => ({ ...sum, bytesIn: sum.bytesIn + each.row.bytesIn, bytesOut: sum.bytesOut + each.row.bytesOut }),
    keyed.row,
  );
  return { ...keyed, row };
}

/** Rows that get no new connections and still have some: what `grace wait` waits for. */
export function drainingRows(
  service: Pick<Service, 'forwarder' | 'generations' | 'listeners' | 'certificates'>,
  srcKey: string | null,
): DestinationRow[] {
  return allRows(service, srcKey)
    .filter(({ row }) => !row.active && row.connections > 0)
    .map(({ row }) => row);
}

/** That this process is there, and no more: of thousands of rules a report takes its time. */
export function briefReportOf({ version, processStartedAt }: Service): GenerationReport {
  return { pid: process.pid, version, since: processStartedAt, rows: [] };
}

/** {@link reportOf}, with what it still has of addresses that have limits of their own. */
export function fullReportOf(service: Service): GenerationReport {
  const rows = (service.handover.handedOver?.admissions ?? []).flatMap(({ srcKey, admission }) =>
    admission?.isCounting ? [{ srcKey, row: admission.addresses({ isOwn: true }) }] : [],
  );
  return { ...reportOf(service), ...(rows.length > 0 && { addresses: rows }) };
}

/** The processes of the daemon, the one that serves first, with what each has open. */
export function generationRows({
  forwarder,
  generations,
  version,
  processStartedAt: since,
}: Pick<Service, 'forwarder' | 'generations' | 'version' | 'processStartedAt'>): GenerationRow[] {
  const own = { pid: process.pid, version, connections: forwarder.connections, since };
  const older = generations.reports.map((report) => ({
    pid: report.pid,
    version: report.version,
    connections: report.rows.reduce((sum, { row }) => sum + row.connections, 0),
    since: report.since,
  }));
  return [own, ...older];
}

/** What this process says of itself to the daemon that serves, and to a successor. */
export function reportOf(service: Service): GenerationReport {
  const {
    version,
    processStartedAt: since,
    handover: { handedOver },
  } = service;
  const own = ownRows(service);
  const counts = withoutUnused(service.book.own);
  if (handedOver === null) return { pid: process.pid, version, since, rows: own, counts };
  const known = new Set(own.map(keyOf));
  const drained = handedOver.views.map((view) => keyedRow(view)).filter((keyed) => !known.has(keyOf(keyed)));
  // While connections move it is open what the successor goes on with.
  const rows = [...own, ...drained].filter(hasMoved);
  return { pid: process.pid, version, since, rows, isRest: !service.handover.isMoving, counts };
}

/** Of thousands of rules most may have nothing to tell. */
function hasMoved({ row }: KeyedRow): boolean {
  return row.connections > 0 || row.bytesIn + row.bytesOut > 0 || row.held === true;
}

/** The rows of one rule together, its active destination first, rules in the order in which they first appear. */
function inRuleOrder(rows: KeyedRow[]): KeyedRow[] {
  return [...Map.groupBy(rows, ({ srcKey }) => srcKey).values()].flatMap((ofRule) => [
    ...ofRule.filter(({ row }) => row.active),
    ...ofRule.filter(({ row }) => !row.active),
  ]);
}

function keyOf({ srcKey, dstKey }: KeyedRow): string {
  return pairKey(srcKey, dstKey);
}

function pairKey(srcKey: string, dstKey: string): string {
  return JSON.stringify([srcKey, dstKey]);
}
