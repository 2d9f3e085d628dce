/**
 * Counters outlive a crash: whatever anybody was shown is written down before, and what nobody was
 * shown every few seconds. They are worth no fsync, and no error: a file that is missing or cannot be
 * written costs nothing but the counters of the time before.
 */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { replaceFile } from './replace-file.ts';
import type { GenerationReport } from '../../control/shapes.ts';
import type { CarriedStats } from '../../forward/destination.ts';
import type { Forwarder } from '../../forward/forwarder.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import type { DestinationView } from '../../forward/table.ts';

/** Time between two looks whether there is something to write down, in milliseconds. */
const periodMs = 10_000;

const counted = { bytesIn: v.number(), bytesOut: v.number(), since: v.string() };
const keyedRow = v.object({ srcKey: v.string(), dstKey: v.string(), row: v.looseObject(counted) });
const fileSchema = v.object({
  format: v.literal(1),
  rules: v.array(v.object({ srcKey: v.string(), dstKey: v.string(), ...counted })),
  generations: v.array(
    v.looseObject({ pid: v.number(), since: v.string(), isRest: v.optional(v.boolean()), rows: v.array(keyedRow) }),
  ),
});

/** Counters of a daemon that has ended. */
export type LoadedCounters = {
  of(spec: RuleSpec): CarriedStats | undefined;
  /** What older generations had said when this was written. */
  generations: readonly GenerationReport[];
};

/** Read the counters of a daemon that has ended; there are none in a file that cannot be understood. */
export function loadCounters(path: string): LoadedCounters {
  try {
    const { rules, generations } = v.parse(fileSchema, JSON.parse(readFileSync(path, 'utf8')));
    return {
      of({ src, dst }) {
        const found = rules.find(({ srcKey, dstKey }) => srcKey === src.key && dstKey === dst.key);
        return found && { bytesIn: found.bytesIn, bytesOut: found.bytesOut, since: found.since };
      },
      generations: generations as unknown as GenerationReport[],
    };
  } catch {
    return { of: () => undefined, generations: [] };
  }
}

/** What is counted, and where it is written. */
export type CountersWriterOptions = {
  path: string;
  forwarder: Pick<Forwarder, 'views'>;
  generations: { readonly reports: readonly GenerationReport[] };
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

  /** Write down what has changed. Never throws. */
  write(): void {
    const { path, forwarder, generations, mayWrite } = this.#options;
    if (!mayWrite()) return;
    if (!this.#isStopping) this.#views = forwarder.views().filter(({ isCurrent }) => isCurrent);
    const rules = this.#views.map(({ src, destination }) => {
      const { bytesIn, bytesOut } = destination.stats();
      return { srcKey: src.key, dstKey: destination.spec.key, bytesIn, bytesOut, since: destination.since };
    });
    const text = `${JSON.stringify({ format: 1, rules, generations: generations.reports })}\n`;
    if (text === this.#written) return;
    try {
      replaceFile(path, text);
      this.#written = text;
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
