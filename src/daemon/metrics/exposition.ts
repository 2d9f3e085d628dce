/**
 * The text format of Prometheus, version 0.0.4. It is written here and not by prom-client, which counts by itself in
 * this process: it takes neither histograms whose buckets other threads and processes have filled nor counters that
 * are sums of such, has two dependencies, and had its last release two years ago.
 */

import { visible } from '../../one-line.ts';

/** Names and values that tell one sample of a metric from another. */
export type Labels = Readonly<Record<string, string>>;

/** What is measured, once for each set of labels. Of thousands of rules each is made as it is written. */
export type Metric = { name: string; help: string } & (
  { type: 'gauge' | 'counter'; samples: Iterable<Sample> } | { type: 'histogram'; histograms: Iterable<Histogram> }
);

/** One number. */
export type Sample = { labels?: Labels; value: number };

/** Observations by buckets: so many up to each bound, beyond the bounds before it; the last has none. */
export type Histogram = { labels: Labels; bounds: readonly number[]; counts: readonly number[]; sum: number };

/** A metric that may go down. */
export function gauge(name: string, help: string, samples: Iterable<Sample>): Metric {
  return { name, help, type: 'gauge', samples };
}

/** A metric that never does. */
export function counter(name: string, help: string, samples: Iterable<Sample>): Metric {
  return { name, help, type: 'counter', samples };
}

/** A metric of observations. */
export function histogram(name: string, help: string, histograms: Iterable<Histogram>): Metric {
  return { name, help, type: 'histogram', histograms };
}

/** Rendered labels of texts that come again and again: the sources. */
type Rendered = Map<string, string>;

/** The text of all these metrics, a few lines at a time: between two of them the caller may do something else. */
export function* exposition(metrics: readonly Metric[]): Generator<string> {
  const rendered: Rendered = new Map();
  for (const metric of metrics) {
    yield head(metric);
    const { name } = metric;
    if (metric.type === 'histogram')
      for (const histogram of metric.histograms) yield histogramLines(name, histogram, rendered);
    else for (const { labels = {}, value } of metric.samples) yield line(name, labelText(labels, rendered), value);
  }
}

function head({ name, help, type }: Metric): string {
  return `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n# TYPE ${name} ${type}\n`;
}

function histogramLines(name: string, { labels, bounds, counts, sum }: Histogram, rendered: Rendered): string {
  const own = labelText(labels, rendered);
  const before = own === '' ? '' : `${own},`;
  let below = 0;
  let text = '';
  for (let at = 0; at <= bounds.length; at++) {
    below += counts[at] ?? 0;
    text += line(`${name}_bucket`, `${before}le="${numberText(bounds[at] ?? Infinity)}"`, below);
  }
  return `${text}${line(`${name}_sum`, own, sum)}${line(`${name}_count`, own, below)}`;
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === '' ? '' : `{${labels}}`} ${numberText(value)}\n`;
}

function labelText(labels: Labels, rendered: Rendered): string {
  let all = '';
  for (const label in labels) {
    const text = labels[label]!;
    let inside = rendered.get(text);
    if (inside === undefined) rendered.set(text, (inside = escaped(text)));
    all += `${all === '' ? '' : ','}${label}="${inside}"`;
  }
  return all;
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
