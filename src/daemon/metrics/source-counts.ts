/**
 * What has been counted for each source, as samples and histograms. Thousands of sources without a connection would
 * fill megabytes with zeros: where a metric has many numbers a source, those are left out of which nothing was counted,
 * but for sources that are shown in full (fully-shown.ts). All are made as they are written.
 */
import type { SourceCounts } from '../../control/shapes.ts';
import { handshakeOutcomes, handshakeSides } from '../../engine/tally.ts';
import type { Histogram, Labels, Sample } from './exposition.ts';

/** Sources of which there is something to show. */
export type ShownSources = {
  sources: readonly SourceCounts[];
  /** Whether a number of a source is shown. What has been counted is, and then it stays. */
  isShown(source: SourceCounts, value: number): boolean;
};

/** Those of which something was counted, and those with the keys that are `inFull`. */
export function shownSources(sources: readonly SourceCounts[], inFull: ReadonlySet<string>): ShownSources {
  return {
    sources: sources.filter(({ key, numbers }) => inFull.has(key) || Object.keys(numbers).length > 0),
    isShown: ({ key }, value) => value > 0 || inFull.has(key),
  };
}

/** These counts of every source, zeros included, each with labels of its own beside `src`. */
export function totals(sources: readonly SourceCounts[], counts: Readonly<Record<string, Labels>>): Iterable<Sample> {
  const all = Object.entries(counts);
  return samplesOf(sources, ({ src, numbers }) =>
    all.map(([name, labels]) => ({ labels: { src, ...labels }, value: numbers[name] ?? 0 })),
  );
}

/** One count, where it is shown. */
export function countOf(shown: ShownSources, name: string): Iterable<Sample> {
  return samplesOf(shown.sources, (source) =>
    sampleIfShown(shown, source, { labels: { src: source.src }, value: source.numbers[name] ?? 0 }),
  );
}

/** Connections that ended for these reasons; `label` names the label that tells which. */
export function ends(shown: ShownSources, reasons: readonly string[], label: string): Iterable<Sample> {
  return samplesOf(shown.sources, (source) =>
    reasons.flatMap((reason) =>
      sampleIfShown(shown, source, {
        labels: { src: source.src, [label]: reason },
        value: source.numbers[`end ${reason}`] ?? 0,
      }),
    ),
  );
}

/** Of the sources and destinations that speak TLS. */
export function handshakes({ sources }: ShownSources): Iterable<Sample> {
  return samplesOf(sources, ({ src, numbers }) =>
    handshakeSides.flatMap((side) =>
      handshakeOutcomes.flatMap((outcome) => {
        const value = numbers[`tls ${side} ${outcome}`];
        if (value === undefined) return [];
        const how = outcome === 'failed' ? { outcome, version: '' } : { outcome: 'done', version: outcome };
        return { labels: { src, side, ...how }, value };
      }),
    ),
  );
}

/** Of those that have done any: with their first, so that a rate sees the first that was resumed. */
export function resumedHandshakes({ sources }: ShownSources): Iterable<Sample> {
  return samplesOf(sources, ({ src, numbers }) =>
    handshakeSides
      .filter((side) =>
        handshakeOutcomes.some((outcome) => outcome !== 'failed' && `tls ${side} ${outcome}` in numbers),
      )
      .map((side) => ({ labels: { src, side }, value: numbers[`tls ${side} resumed`] ?? 0 })),
  );
}

/** Observations by the buckets of their field, with all of them or none: one that came later than the others would be missed by a rate, and quantiles be wrong. */
export function histogramsOf(shown: ShownSources, field: string, bounds: readonly number[]): Iterable<Histogram> {
  return samplesOf(shown.sources, (source) => {
    const histogram = buckets({ src: source.src }, source.numbers, field, bounds);
    return shown.isShown(source, Math.max(...histogram.counts)) ? [histogram] : [];
  });
}

/** The histogram that was counted under the name of a field. */
export function buckets(
  labels: Labels,
  numbers: Readonly<Record<string, number>>,
  field: string,
  bounds: readonly number[],
): Histogram {
  return {
    labels,
    bounds,
    counts: [...bounds, 'Inf'].map((bound) => numbers[`${field} ${bound}`] ?? 0),
    sum: numbers[`${field} sum`] ?? 0,
  };
}

function* samplesOf<S>(sources: readonly SourceCounts[], of: (source: SourceCounts) => Iterable<S>): Generator<S> {
  for (const source of sources) yield* of(source);
}

function sampleIfShown({ isShown }: ShownSources, source: SourceCounts, sample: Sample): Sample[] {
  return isShown(source, sample.value) ? [sample] : [];
}
