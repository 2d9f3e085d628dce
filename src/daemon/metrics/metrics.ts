/** Everything that a daemon measures, as metrics with their names; README.md of the daemon lists them. */
import { closingReasons, dialFailures, refusals } from '../../engine/closing-reason.ts';
import { connectBounds, durationBounds } from '../../engine/tally.ts';
import type { Counts, DestinationRow, GenerationRow } from '../../control/shapes.ts';
import { cpuSeconds, restartBounds, totalWaits } from './book.ts';
import type { RuleSource } from '../rules/sources.ts';
import { counter, gauge, histogram } from './exposition.ts';
import type { Labels, Metric, Sample } from './exposition.ts';
import {
  buckets,
  countOf,
  ends,
  handshakes,
  histogramsOf,
  resumedHandshakes,
  shownSources,
  totals,
} from './source-counts.ts';

/** What a daemon says of itself and its connections at one moment. */
export type Observed = {
  version: string;
  engine: string;
  runtime: string;
  /** Which process of the daemon serves, from 1. */
  generation: number;
  /** Seconds since 1970 at which the daemon's first process came up. */
  startSeconds: number;
  /** Of the processes that serve or finish connections, the serving one first. */
  generations: readonly GenerationRow[];
  rules: { listening: number; failed: number };
  /** What the daemon goes on without, as `grace status` says it. */
  problems: number;
  /** Where rules are followed. */
  sources: readonly RuleSource[];
  rows: readonly DestinationRow[];
  /** Most connections at once (`--maxconn`); null: no limit. */
  maxconn: number | null;
  /** Of all processes together. */
  counts: Counts;
  /** Keys of sources of which all is shown, zeros included; see fully-shown.ts. */
  shownInFull: ReadonlySet<string>;
  /** Certificates that rules present: where, and until when they are valid, in seconds since 1970. */
  certificates: readonly { src: string; dst?: string; name: string; untilSeconds: number }[];
};

/** The metrics of grace, in the order in which they are printed. */
export function metricsOf(observed: Observed): Metric[] {
  const { version, engine, runtime, generation, startSeconds, rules, counts } = observed;
  const { sources, daemon } = counts;
  const shown = shownSources(sources, observed.shownInFull);
  const ofDaemon = (name: string) => [{ value: daemon[name] ?? 0 }];
  return [
    gauge('grace_build_info', 'What runs: always 1.', [{ labels: { version, engine, runtime }, value: 1 }]),
    gauge('grace_start_time_seconds', 'When the daemon came up, over all its restarts, in seconds since 1970.', [
      { value: startSeconds },
    ]),
    gauge('grace_generation', 'Which process of the daemon serves, counted from 1 with every restart.', [
      { value: generation },
    ]),
    gauge(
      'grace_generations',
      'Processes of the daemon: the one that serves, and older ones that finish connections.',
      [{ value: observed.generations.length }],
    ),
    ...generationMetrics(observed.generations),
    gauge('grace_rules', 'Rules by whether they are served.', [
      { labels: { state: 'listening' }, value: rules.listening },
      { labels: { state: 'failed' }, value: rules.failed },
    ]),
    gauge(
      'grace_problems',
      'What the daemon goes on without: a log, a file of rules that is wrong; see grace status.',
      [{ value: observed.problems }],
    ),
    ...staleMetrics(observed.sources),
    gauge('grace_connections_waiting', 'Clients of held rules that wait to go on.', waitingNow(observed.rows)),
    gauge(
      'grace_connections',
      'Open connections, those included whose destination is still being dialled.',
      openNow(observed.rows),
    ),
    gauge(
      'grace_maxconn',
      'Most connections at once over all rules; absent without such a limit.',
      observed.maxconn === null ? [] : [{ value: observed.maxconn }],
    ),
    counter(
      'grace_maxconn_waits_total',
      'Times that a rule accepted no more because none of these places was free for it.',
      ofDaemon(totalWaits),
    ),
    counter('grace_connections_total', 'Connections that were accepted.', totals(sources, { accepted: {} })),
    counter(
      'grace_connection_ends_total',
      'Connections that have ended, by the reason.',
      ends(shown, closingReasons, 'reason'),
    ),
    counter(
      'grace_connections_refused_total',
      'Of the connections that have ended, those of clients that did not speak as they should.',
      ends(shown, refusals, 'reason'),
    ),
    counter(
      'grace_connections_moved_total',
      'Open connections that a restart moved to the next process.',
      countOf(shown, 'moved'),
    ),
    counter(
      'grace_connections_moved_with_tls_total',
      'Of the connections that a restart moved, those with TLS.',
      ofDaemon('moved with TLS'),
    ),
    counter(
      'grace_bytes_total',
      'Bytes, in (client to destination) and out (destination to client).',
      totals(sources, { bytesIn: { direction: 'in' }, bytesOut: { direction: 'out' } }),
    ),
    counter(
      'grace_dial_failures_total',
      'Connections whose destination was not reached, by the cause.',
      ends(shown, dialFailures, 'cause'),
    ),
    histogram(
      'grace_connect_seconds',
      'Time until the destination was connected.',
      histogramsOf(shown, 'connect', connectBounds),
    ),
    histogram(
      'grace_connection_duration_seconds',
      'How long connections lasted that have ended.',
      histogramsOf(shown, 'duration', durationBounds),
    ),
    counter(
      'grace_tls_handshakes_total',
      'TLS handshakes with clients and destinations, by how they ended and with which version.',
      handshakes(shown),
    ),
    counter(
      'grace_tls_handshakes_resumed_total',
      'Of the TLS handshakes that are done, those that went on with an earlier session.',
      resumedHandshakes(shown),
    ),
    counter('grace_switches_total', 'Times that a rule was sent to another destination.', ofDaemon('switches')),
    counter('grace_restarts_total', 'Restarts by which another process took over.', ofDaemon('restarts')),
    counter(
      'grace_restart_failures_total',
      'Restarts that came to nothing: the process before went on.',
      ofDaemon('restart failures'),
    ),
    histogram('grace_restart_seconds', 'Time from the wish to restart until the next process served.', [
      buckets({}, daemon, 'restart', restartBounds),
    ]),
    counter(
      'grace_crashes_total',
      'Times that a daemon was found to have ended without having stopped.',
      ofDaemon('crashes'),
    ),
    counter('grace_access_log_lines_total', 'Lines written to the access log.', ofDaemon('access log lines')),
    counter(
      'grace_access_log_lines_lost_total',
      'Lines of the access log that could not be written.',
      ofDaemon('access log lines lost'),
    ),
    gauge(
      'grace_certificate_expiry_timestamp_seconds',
      'Until when a certificate that a rule presents is valid, in seconds since 1970.',
      observed.certificates.map(({ src, dst, name, untilSeconds }) => ({
        labels: { src, ...(dst === undefined ? {} : { dst }), name },
        value: untilSeconds,
      })),
    ),
    counter(
      'process_cpu_seconds_total',
      'Time of the processor that all processes of the daemon have used.',
      ofDaemon(cpuSeconds),
    ),
  ];
}

function generationMetrics(generations: readonly GenerationRow[]): Metric[] {
  const of = (value: (row: GenerationRow) => number) =>
    generations.map((row) => ({ labels: { pid: String(row.pid) }, value: value(row) }));
  return [
    gauge(
      'grace_generation_connections',
      'Open connections of each process of the daemon.',
      of(({ connections }) => connections),
    ),
    gauge(
      'grace_generation_start_time_seconds',
      'When each process of the daemon came up, in seconds since 1970.',
      of(({ since }) => Date.parse(since) / 1000),
    ),
  ];
}

/** Of rules that are followed in etcd. */
function staleMetrics(sources: readonly RuleSource[]): Metric[] {
  const labelled = sources.map(({ source, staleSince }) => ({
    labels: { source },
    sinceMs: staleSince === undefined ? null : Date.parse(staleSince),
  }));
  return [
    gauge(
      'grace_rules_stale_seconds',
      'For how long rules that are followed in etcd have not been known to be the newest: 0 while they are.',
      labelled.map(({ labels, sinceMs }) => ({
        labels,
        value: sinceMs === null ? 0 : Math.max(0, (Date.now() - sinceMs) / 1000),
      })),
    ),
    gauge(
      'grace_rules_stale_since_timestamp_seconds',
      'Since when, in seconds since 1970; absent while they are the newest.',
      labelled.flatMap(({ labels, sinceMs }) => (sinceMs === null ? [] : [{ labels, value: sinceMs / 1000 }])),
    ),
  ];
}

/** Several processes may have connections of the same destination. */
function openNow(rows: readonly DestinationRow[]): Sample[] {
  return sumBy(rows, ({ src, dst, connections }) => ({ labels: { src, dst }, value: connections }));
}

function waitingNow(rows: readonly DestinationRow[]): Sample[] {
  return sumBy(rows, ({ src, waiting = 0 }) => ({ labels: { src }, value: waiting }));
}

/** One sample for all rows with the same labels. */
function sumBy(
  rows: readonly DestinationRow[],
  sampleOf: (row: DestinationRow) => { labels: Labels; value: number },
): Sample[] {
  const sums = new Map<string, { labels: Labels; value: number }>();
  for (const { labels, value } of rows.map(sampleOf)) {
    const key = JSON.stringify(labels);
    const known = sums.get(key);
    if (known) known.value += value;
    else sums.set(key, { labels, value });
  }
  return [...sums.values()];
}
