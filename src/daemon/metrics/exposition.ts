/**
 * The text format of Prometheus, version 0.0.4. It is written here and not by prom-client, which counts by itself in
 * this process: it takes neither histograms whose buckets other threads and processes have filled nor counters that
 * are sums of such, has two dependencies, and had its last release two years ago.
 */

import { visible } from '../../one-line.ts';

/** Names and values that tell one sample of a metric from another. */
export type Labels = Readonly<Record<string, string>>;

/** What is measured, once for each set of labels. */
export type Metric = { name: string; help: string } & (
  { type: 'gauge' | 'counter'; samples: readonly Sample[] } | { type: 'histogram'; histograms: readonly Histogram[] }
);

/** One number. */
export type Sample = { labels?: Labels; value: number };

/** Observations by buckets: so many up to each bound, beyond the bounds before it; the last has none. */
export type Histogram = { labels: Labels; bounds: readonly number[]; counts: readonly number[]; sum: number };

/** The text of all these metrics. */
export function exposition(metrics: readonly Metric[]): string {
  return metrics.map((metric) => `${head(metric)}${body(metric)}`).join('');
}

function head({ name, help, type }: Metric): string {
  return `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n# TYPE ${name} ${type}\n`;
}

function body(metric: Metric): string {
  const { name } = metric;
  if (metric.type !== 'histogram')
    return metric.samples.map(({ labels = {}, value }) => line(name, labels, value)).join('');
  return metric.histograms.map((histogram) => histogramLines(name, histogram)).join('');
}

function histogramLines(name: string, { labels, bounds, counts, sum }: Histogram): string {
  let below = 0;
  const buckets = [...bounds, Infinity].map((bound, at) => {
    below += counts[at] ?? 0;
    return line(`${name}_bucket`, { ...labels, le: numberText(bound) }, below);
  });
  return `${buckets.join('')}${line(`${name}_sum`, labels, sum)}${line(`${name}_count`, labels, below)}`;
}

function line(name: string, labels: Labels, value: number): string {
  const inside = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${inside.length === 0 ? '' : `{${inside.join(',')}}`} ${numberText(value)}\n`;
}

/** What is typed by people may be anything: a label is one line of UTF-8, and no order to a terminal that shows it. */
function escaped(text: string): string {
  const lines = text.toWellFormed().split('\n').map(visible);
  return lines.join('\n').replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

function numberText(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}
