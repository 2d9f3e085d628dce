import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceCounts } from '../../../src/control/shapes.ts';
import { exposition } from '../../../src/daemon/metrics/exposition.ts';
import { FullyShown } from '../../../src/daemon/metrics/fully-shown.ts';
import { metricsOf } from '../../../src/daemon/metrics/metrics.ts';

const source = (index: number, numbers: Record<string, number> = {}): SourceCounts => ({
  key: `key ${index}`,
  src: `tcp:${index}`,
  connections: 0,
  numbers,
});

function metricsFor(sources: SourceCounts[], shownInFull: ReadonlySet<string>) {
  return metricsOf({
    version: '1',
    engine: 'native',
    runtime: 'node',
    generation: 1,
    startSeconds: 0,
    generations: [],
    rules: { listening: sources.length, failed: 0 },
    problems: 0,
    maxconn: null,
    sources: [],
    rows: [],
    counts: { sources, daemon: {} },
    shownInFull,
    certificates: [],
  });
}

/** The names of samples, with their labels. */
function seriesOf(sources: SourceCounts[], shownInFull: ReadonlySet<string>): Set<string> {
  const lines = [...exposition(metricsFor(sources, shownInFull))].join('').trim().split('\n');
  return new Set(lines.filter((line) => !line.startsWith('#')).map((line) => line.slice(0, line.lastIndexOf(' '))));
}

test('of few sources everything is shown from the start, so that a rate sees the first of each kind', () => {
  const sources = [source(1)];
  const series = seriesOf(sources, new FullyShown().among(sources));
  for (const name of [
    'grace_connections_total{src="tcp:1"}',
    'grace_connection_ends_total{src="tcp:1",reason="dial-refused"}',
    'grace_dial_failures_total{src="tcp:1",cause="dial-timeout"}',
    'grace_connect_seconds_bucket{src="tcp:1",le="0.001"}',
    'grace_connection_duration_seconds_count{src="tcp:1"}',
  ])
    assert.ok(series.has(name), name);
});

test('how many handshakes were resumed is shown with the first that is done, so that a rate sees the first of them', () => {
  const resumed = (numbers: Record<string, number>) => {
    const text = [...exposition(metricsFor([source(1, numbers)], new Set()))].join('');
    return text.match(/^grace_tls_handshakes_resumed_total\{.*$/gm) ?? [];
  };
  assert.deepEqual(resumed({ accepted: 1, 'tls client failed': 1 }), []);
  assert.deepEqual(resumed({ accepted: 1, 'tls client TLSv1.2': 1, 'tls upstream failed': 1 }), [
    'grace_tls_handshakes_resumed_total{src="tcp:1",side="client"} 0',
  ]);
  assert.deepEqual(resumed({ 'tls client TLSv1.3': 3, 'tls upstream TLSv1.2': 2, 'tls upstream resumed': 1 }), [
    'grace_tls_handshakes_resumed_total{src="tcp:1",side="client"} 0',
    'grace_tls_handshakes_resumed_total{src="tcp:1",side="upstream"} 1',
  ]);
});

test('of thousands of sources a number appears when it is counted, and what was shown is shown for ever', () => {
  const shown = new FullyShown();
  const sources = Array.from({ length: 5000 }, (_, index) => source(index));
  const before = seriesOf(sources, shown.among(sources));
  for (const name of ['grace_connections_total{src="tcp:4999"}', 'grace_bytes_total{src="tcp:4999",direction="in"}'])
    assert.ok(before.has(name), name);
  assert.equal([...before].filter((name) => name.includes('"tcp:4999"')).length, 3);
  sources[4999] = source(4999, { accepted: 1, 'end dial-refused': 1, 'connect 0.001': 1, 'connect sum': 0.0007 });
  // Others go, and come: the first hundred are no longer the same.
  const later = [...sources.slice(0, 20), ...sources.slice(40), source(5000)];
  const after = seriesOf(later, shown.among(later));
  const gone = [...before].filter((name) => !after.has(name));
  assert.deepEqual(
    gone.filter((name) => !/"tcp:(2|3)[0-9]"/.test(name)),
    [],
  );
  const own = [...after].filter((name) => name.includes('"tcp:4999"') && !before.has(name));
  assert.deepEqual(own.toSorted(), [
    ...[
      '+Inf',
      '0.0005',
      '0.001',
      '0.0025',
      '0.005',
      '0.01',
      '0.025',
      '0.05',
      '0.1',
      '0.25',
      '0.5',
      '1',
      '10',
      '2.5',
      '5',
    ]
      .map((bound) => `grace_connect_seconds_bucket{src="tcp:4999",le="${bound}"}`)
      .toSorted(),
    'grace_connect_seconds_count{src="tcp:4999"}',
    'grace_connect_seconds_sum{src="tcp:4999"}',
    'grace_connection_ends_total{src="tcp:4999",reason="dial-refused"}',
    'grace_dial_failures_total{src="tcp:4999",cause="dial-refused"}',
  ]);
});

test('the text of thousands of sources comes a few lines at a time', () => {
  const sources = Array.from({ length: 5000 }, (_, index) => source(index, { accepted: 1, 'duration 0.01': 1 }));
  let [count, longest] = [0, 0];
  for (const piece of exposition(metricsFor(sources, new Set()))) {
    count++;
    longest = Math.max(longest, piece.length);
  }
  assert.ok(count > 20_000 && longest < 3000, `${count} pieces, the longest of ${longest} characters`);
});
