/**
 * Counters outlive a crash: whatever anybody was shown is written down before, and what nobody was
 * shown every few seconds. They are worth no fsync, and no error: a file that is missing or cannot be
 * written costs nothing but the counters of the time before.
 */
import * as v from 'valibot';
import { readRegularFile } from '../../sys/regular-file.ts';
import { replaceFile } from './replace-file.ts';
import { counts } from '../../control/shapes.ts';
import type { Counts, GenerationReport } from '../../control/shapes.ts';
import { cpuSeconds } from '../metrics/book.ts';
import type { Book } from '../metrics/book.ts';
import { addCounts, withoutUnused } from '../metrics/counts.ts';
import type { CarriedStats } from '../../forward/destination.ts';
import type { Forwarder } from '../../forward/forwarder.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import type { DestinationView } from '../../forward/table.ts';

/** Time between two looks whether there is something to write down, in milliseconds. */
const periodMs = 10_000;

const bytes = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const counted = { bytesIn: bytes, bytesOut: bytes, since: v.pipe(v.string(), v.isoTimestamp()) };
const keyedRow = v.object({
  srcKey: v.string(),
  dstKey: v.string(),
  row: v.looseObject({ bytesIn: bytes, bytesOut: bytes, since: v.string() }),
});
const fileSchema = v.object({
  format: v.literal(1),
  rules: v.array(v.object({ srcKey: v.string(), dstKey: v.string(), ...counted })),
  generations: v.array(
    v.looseObject({ pid: v.number(), since: v.string(), isRest: v.optional(v.boolean()), rows: v.array(keyedRow) }),
  ),
  /** Of the process that wrote it, and those that had ended. Absent from earlier versions. */
  counts: v.optional(counts),
  hasEnded: v.optional(v.boolean()),
});

/** Counters of a daemon that has ended. */
export type LoadedCounters = {
  of(spec: RuleSpec): CarriedStats | undefined;
  /** What older generations had said when this was written. */
  generations: readonly GenerationReport[];
  /** What it and those before it had counted; null when nothing is known. */
  counts: Counts | null;
  /** It ended without having stopped. */
  hasCrashed: boolean;
};

/** Read the counters of a daemon that has ended; there are none in a file that cannot be understood. */
export function loadCounters(path: string): LoadedCounters {
  try {
    const {
      rules,
      generations,
      counts: all = null,
      hasEnded = true,
    } = v.parse(fileSchema, JSON.parse(readRegularFile(path)));
    const nameOf = (srcKey: string, dstKey: string) => JSON.stringify([srcKey, dstKey]);
    const byName = new Map(rules.map((each) => [nameOf(each.srcKey, each.dstKey), each]));
    return {
      of({ src, dst }) {
        const found = byName.get(nameOf(src.key, dst.key));
        return found && { bytesIn: found.bytesIn, bytesOut: found.bytesOut, since: found.since };
      },
      generations: generations as unknown as GenerationReport[],
      counts: all,
      hasCrashed: !hasEnded,
    };
  } catch {
    return { of: () => undefined, generations: [], counts: null, hasCrashed: false };
  }
}

/** What is counted, and where it is written. */
export type CountersWriterOptions = {
  path: string;
  forwarder: Pick<Forwarder, 'views'>;
  generations: { readonly reports: readonly GenerationReport[] };
  book: Pick<Book, 'own' | 'ended'>;
  /** Whether this process has stopped in order. */
  hasEnded: () => boolean;
  /** Whether the file is this process's. */
  mayWrite: () => boolean;
};

/** Writes the counters down while the daemon runs. `close` it. */
export class CountersWriter {
  readonly #options: CountersWriterOptions;
  readonly #timer: NodeJS.Timeout;
  #written = '';
  #views: readonly DestinationView[] = [];
  #isStopping = false;

  constructor(options: CountersWriterOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.write(), periodMs).unref();
  }

  /** Write down what has changed. Never throws. Time of the processor passes always: that alone is written when it is about to be `shown`. */
  write({ isShown = false }: { isShown?: boolean } = {}): void {
    const { path, forwarder, generations, book, hasEnded, mayWrite } = this.#options;
    if (!mayWrite()) return;
    if (!this.#isStopping) this.#views = forwarder.views().filter(({ isCurrent }) => isCurrent);
    const rules = this.#views.map(({ src, destination }) => {
      const { bytesIn, bytesOut } = destination.stats();
      return { srcKey: src.key, dstKey: destination.spec.key, bytesIn, bytesOut, since: destination.since };
    });
    const counts = withoutUnused(addCounts(book.own, book.ended));
    const { reports } = generations;
    const state = { format: 1, rules, generations: reports, counts, hasEnded: hasEnded() };
    const mark = JSON.stringify({
      ...state,
      generations: reports.map((report) => ({ ...report, counts: report.counts && withoutTime(report.counts) })),
      counts: withoutTime(counts),
    });
    if (mark === this.#written && !isShown) return;
    try {
      replaceFile(path, `${JSON.stringify(state)}\n`);
      this.#written = mark;
    } catch {
      // Disk full or read-only: the next one may succeed, and forwarding goes on all the same.
    }
  }

  /** The rules are about to go; they stay stored, and so do their counters. */
  stopping(): void {
    this.write();
    this.#isStopping = true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.write();
  }
}

/** But for time of the processor. */
function withoutTime({ sources, daemon }: Counts): Counts {
  const { [cpuSeconds]: _time, ...rest } = daemon;
  return { sources, daemon: rest };
}
