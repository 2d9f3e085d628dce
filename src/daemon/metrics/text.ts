import { setImmediate as nextTurn } from 'node:timers/promises';
import { allRows, generationRows } from '../requests/rows.ts';
import { unservedRules } from '../rules/unserved.ts';
import type { Service } from '../service.ts';
import { problemsOf } from '../requests/status.ts';
import { exposition } from './exposition.ts';
import { metricsOf } from './metrics.ts';
import type { Observed } from './metrics.ts';
import { processMetrics } from './process.ts';

/** Characters of a piece: a line of the control socket takes more, JSON's escapes included. */
const pieceLength = 256 * 1024;

/** How long writing may keep others of this thread waiting, in milliseconds. */
const turnMs = 5;

/**
 * The metrics of a daemon as Prometheus reads them (text format 0.0.4), those of its older generations included, in
 * pieces: of thousands of rules that takes a while, in which others have their turns. All pieces are of one moment. What
 * is shown has been written down before: a crash does not take it back.
 */
export async function* metricsText(service: Service): AsyncGenerator<string> {
  await service.generations.refresh();
  const metrics = [...metricsOf(observe(service)), ...processMetrics({ startedAt: service.processStartedAt })];
  service.counters.write({ isShown: true });
  let text = '';
  let startedMs = performance.now();
  for (const piece of exposition(metrics)) {
    text += piece;
    if (text.length >= pieceLength) {
      yield text;
      text = '';
    }
    if (performance.now() - startedMs < turnMs) continue;
    await nextTurn();
    startedMs = performance.now();
  }
  yield text;
}

function observe(service: Service): Observed {
  const { forwarder, generations, book } = service;
  const failed = unservedRules(service).length;
  const counts = book.total(generations.reports);
  return {
    version: service.version,
    engine: service.engine.name,
    runtime: 'Deno' in globalThis ? 'deno' : 'node',
    generation: service.generation,
    startSeconds: Date.parse(service.startedAt) / 1000,
    generations: generationRows(service),
    rules: { listening: forwarder.specs.length - failed, failed },
    problems: problemsOf(service).length,
    sources: service.sources.rows,
    rows: allRows(service).map(({ row }) => row),
    maxconn: service.total?.limit ?? null,
    counts,
    shownInFull: book.fullyShown.among(counts.sources),
    certificates: service.certificates.expiries,
  };
}
