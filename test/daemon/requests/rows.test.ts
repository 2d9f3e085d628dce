import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerationReport } from '../../../src/control/shapes.ts';
import { noCounts } from '../../../src/daemon/metrics/counts.ts';
import { limitsInForce } from '../../../src/daemon/requests/limits.ts';
import { allRows, drainingRows, ownRows, reportOf } from '../../../src/daemon/requests/rows.ts';
import type { Service } from '../../../src/daemon/service.ts';
import { readRule } from '../../../src/daemon/rules/specs.ts';
import { Destination } from '../../../src/forward/destination.ts';
import { GraceError } from '../../../src/error.ts';
import { FakeUpstream } from '../../forward/fake-engine.ts';

const text = (endpoint: string, name?: string) => ({
  typed: endpoint,
  absolute: endpoint,
  ...(name === undefined ? {} : { name }),
});
const since = '2026-01-02T03:04:05.678Z';
const listener = { address: { family: 'inet', host: '127.0.0.1', port: 9000 } };

function destination(dst: string, connections: number) {
  const { src, dst: spec } = readRule({ src: text('tcp:9000', 'web'), dst: text(dst) });
  const upstream = new FakeUpstream(spec.endpoint);
  upstream.connections = connections;
  return { src, destination: new Destination(spec, upstream, { bytesIn: 0, bytesOut: 7, since }) };
}

const current = destination('tcp:127.0.0.1:1', 2);
const earlier = destination('tcp:127.0.0.1:2', 1);
const gone = destination('tcp:127.0.0.1:3', 0);

/** A daemon with one rule, switched once, and another one that cannot be served. */
function serviceWith(reports: GenerationReport[], more: object = {}): Service {
  const views = [
    { ...current, isCurrent: true, percent: null, listener },
    { ...earlier, isCurrent: false, percent: null, listener: null },
  ];
  const admission = { problem: 'line 1 is bad', refused: { denied: 3 } };
  const rules = [{ src: current.src, admission }];
  const broken = [
    { spec: readRule({ src: text('tcp:9001'), dst: text('tcp:127.0.0.1:9') }), error: new GraceError('in use'), since },
  ];
  const parts = {
    forwarder: { views: () => views, rules, broken, specs: [{ src: current.src, dst: current.destination.spec }] },
    listeners: { whyLost: () => null },
    certificates: { of: () => [], endsOf: () => ({ source: null, destination: null }) },
    generations: { reports },
    book: { own: noCounts() },
    version: '1.2.3',
    processStartedAt: since,
    handover: { handedOver: null, isMoving: false },
    ...more,
  };
  return parts as unknown as Service;
}

/** What an older generation says of one of the destinations above. */
function older(
  of: typeof current,
  { connections, bytesIn = 0, isRest = true }: { connections: number; bytesIn?: number; isRest?: boolean },
): GenerationReport {
  const row = {
    src: 'tcp:9000',
    dst: of.destination.spec.typed,
    connections,
    active: true,
    pid: 1,
    bytesIn,
    bytesOut: 0,
    since,
    listening: '',
  };
  return { pid: 1, version: '1', since, isRest, rows: [{ srcKey: of.src.key, dstKey: of.destination.spec.key, row }] };
}

const plain = ({
  row: { dst, connections, active, pid },
}: {
  row: { dst: string; connections: number; active: boolean; pid: number };
}) => [dst, connections, active, pid === process.pid ? 'own' : 'older'];

test('a rule has a row for its destination and each earlier one, and one that cannot be served says why', () => {
  const rows = ownRows(serviceWith([])).map(({ row }) => row);
  assert.deepEqual(
    rows.map((row) => plain({ row })),
    [
      ['tcp:127.0.0.1:1', 2, true, 'own'],
      ['tcp:127.0.0.1:2', 1, false, 'own'],
      ['tcp:127.0.0.1:9', 0, false, 'own'],
    ],
  );
  assert.deepEqual(
    [rows[0]?.name, rows[0]?.listening, rows[0]?.bytesIn, rows[0]?.bytesOut, rows[0]?.since],
    ['web', '127.0.0.1:9000', 20, 7, since],
  );
  assert.deepEqual([rows[1]?.listening, rows[2]?.error], ['', 'in use']);
});

test('what is to be said of a rule is said of its current destination alone', () => {
  const rows = ownRows(
    serviceWith([], {
      listeners: { whyLost: () => 'the file is gone' },
      certificates: { of: () => ['it expires'], endsOf: () => ({ source: null, destination: null }) },
    }),
  );
  assert.deepEqual(
    rows.map(({ row }) => [row.error, row.warnings]),
    [
      ['the file is gone', ['it expires', 'the networks of before hold: line 1 is bad']],
      [undefined, undefined],
      ['in use', undefined],
    ],
  );
});

test('rows of older generations stand beside those of their rule, active where the rule leads now', () => {
  const rows = allRows(serviceWith([older(current, { connections: 5 }), older(gone, { connections: 3 })]));
  assert.deepEqual(rows.map(plain), [
    ['tcp:127.0.0.1:1', 2, true, 'own'],
    ['tcp:127.0.0.1:1', 5, true, 'older'],
    ['tcp:127.0.0.1:2', 1, false, 'own'],
    ['tcp:127.0.0.1:3', 3, false, 'older'],
    ['tcp:127.0.0.1:9', 0, false, 'own'],
  ]);
});

test('an older generation that has drained has no row, and its bytes are of the rule, unless the successor counts them', () => {
  const bytesIn = (reports: GenerationReport[]) => allRows(serviceWith(reports)).map(({ row }) => row.bytesIn);
  assert.deepEqual(bytesIn([older(current, { connections: 0, bytesIn: 100 })]), [120, 10, 0]);
  assert.deepEqual(bytesIn([older(current, { connections: 0, bytesIn: 100, isRest: false })]), [20, 10, 0]);
});

test('wait is for connections to earlier destinations, here and in older generations', () => {
  const service = serviceWith([older(current, { connections: 5 }), older(gone, { connections: 3 })]);
  const waiting = (key: string | null) => drainingRows(service, key).map(({ dst, connections }) => [dst, connections]);
  assert.deepEqual(waiting(null), [
    ['tcp:127.0.0.1:2', 1],
    ['tcp:127.0.0.1:3', 3],
  ]);
  assert.deepEqual(waiting(current.src.key), waiting(null));
  assert.deepEqual(waiting('another rule'), []);
});

test('a process that was replaced tells of its destinations also when they have drained', () => {
  const own = reportOf(serviceWith([]));
  assert.equal(own.isRest, undefined);
  const handedOver = {
    told: [],
    views: [
      { ...current, isCurrent: true, percent: null, listener },
      { ...gone, isCurrent: true, percent: null, listener },
    ],
  };
  const report = reportOf(serviceWith([], { handover: { handedOver, isMoving: false } }));
  // Of those that nothing has gone to it says nothing.
  const used = own.rows.filter(({ row }) => row.connections > 0 || row.bytesIn + row.bytesOut > 0);
  assert.deepEqual([own.rows.length, used.length], [3, 2]);
  assert.deepEqual([report.pid, report.isRest, report.rows.length], [process.pid, true, used.length + 1]);
  assert.deepEqual(report.rows.map(plain).at(-1), ['tcp:127.0.0.1:3', 0, true, 'own']);
  assert.equal(reportOf(serviceWith([], { handover: { handedOver, isMoving: true } })).isRest, false);
});

test('the limits in force are told of the active destination, with whom they refused', () => {
  const rows = ownRows(serviceWith([])).map(({ row }) => row);
  assert.deepEqual(
    rows.map(({ limits, refused }) => ({ limits, refused })),
    [
      { limits: { timeout: '30s' }, refused: { denied: 3 } },
      { limits: undefined, refused: undefined },
      { limits: undefined, refused: undefined },
    ],
  );
  const { src, dst } = readRule({
    src: text('haproxy:tcp:9000:maxconn=5:maxconnPer=2:ratePer=9/m:deny=10.0.0.0/8:idle=90s:lifetime=8h'),
    dst: text('tcp:127.0.0.1:1:timeout=7'),
  });
  assert.deepEqual(limitsInForce(src.endpoint, dst), {
    maxconn: '5',
    maxconnPer: '2',
    ratePer: '9/m',
    deny: '10.0.0.0/8',
    idle: '90s',
    lifetime: '8h',
    headerTimeout: '3s',
    timeout: '7s',
  });
});
