import { allRows, generationRows } from '../requests/rows.ts';
import { unservedRules } from '../rules/unserved.ts';
import type { Service } from '../service.ts';
import { problemsOf } from '../requests/status.ts';
import { exposition } from './exposition.ts';
import { metricsOf } from './metrics.ts';
import { processMetrics } from './process.ts';

/**
 * The metrics of a daemon as Prometheus reads them (text format 0.0.4), those of its older generations included. What
 * is shown has been written down before: a crash does not take it back.
 */
export async function metricsText(service: Service): Promise<string> {
  await service.generations.refresh();
  const { forwarder, generations, book } = service;
  const failed = unservedRules(service).length;
  const counts = book.total(generations.reports);
  service.counters.write({ isShown: true });
  const metrics = metricsOf({
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
    counts,
    certificates: service.certificates.expiries,
  });
  return exposition([...metrics, ...processMetrics({ startedAt: service.processStartedAt })]);
}

/** A line of the control socket takes 4 MB, JSON's escapes included. */
const pieceLength = 256 * 1024;

/** The text in pieces that messages of the control socket can carry. */
export function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; at += pieceLength) pieces.push(text.slice(at, at + pieceLength));
  return pieces;
}
