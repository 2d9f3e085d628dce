/** What this daemon has counted, in all its processes: this one, those before it, and the older ones that still finish. */
import type { Counts, GenerationReport } from '../../control/shapes.ts';
import type { Ledger } from '../../forward/ledger.ts';
import { addCounts, countsOf, countsOfEnded, noCounts } from './counts.ts';
import { FullyShown } from './fully-shown.ts';

/** Upper bounds of the histogram of how long restarts took, in seconds. */
export const restartBounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

/** Name of the time of the processor that processes have used. */
export const cpuSeconds = 'cpu seconds';

/** Name of how often a rule accepted no more because of the limit of all connections. */
export const totalWaits = 'maxconn waits';

/** What a daemon counts of itself. */
export type DaemonCount =
  'restart failures' | 'moved with TLS' | 'crashes' | 'access log lines' | 'access log lines lost';

/** The counts of a daemon. */
export class Book {
  readonly fullyShown = new FullyShown();
  readonly #ledger: Pick<Ledger, 'tallies' | 'switches'>;
  readonly #waits: () => number;
  readonly #own: Record<string, number> = {};
  /** Of processes that have ended. */
  #ended: Counts = noCounts();

  /** `waits`: how often a rule of this process accepted no more because of the limit of all connections. */
  constructor(ledger: Pick<Ledger, 'tallies' | 'switches'>, { waits = () => 0 }: { waits?: () => number } = {}) {
    this.#ledger = ledger;
    this.#waits = waits;
  }

  count(what: DaemonCount, by = 1): void {
    this.#add(what, by);
  }

  /** A successor serves, so many milliseconds after the restart was asked for. */
  countRestart(milliseconds: number): void {
    const seconds = milliseconds / 1000;
    this.#add('restarts', 1);
    this.#add('restart sum', seconds);
    this.#add(`restart ${restartBounds.find((bound) => seconds <= bound) ?? 'Inf'}`, 1);
  }

  #add(name: string, by: number): void {
    this.#own[name] = (this.#own[name] ?? 0) + by;
  }

  /** What this process alone has counted. */
  get own(): Counts {
    const { user, system } = process.cpuUsage();
    return countsOf(this.#ledger.tallies, {
      ...this.#own,
      switches: this.#ledger.switches,
      [totalWaits]: this.#waits(),
      [cpuSeconds]: (user + system) / 1e6,
    });
  }

  /** What processes that have ended had counted. */
  get ended(): Counts {
    return this.#ended;
  }

  /** Another process counts these no more, and this one does from now on: a predecessor said so. */
  inherit(counts: Counts): void {
    this.#ended = addCounts(this.#ended, counts);
  }

  /** A process has ended; this is the last that it said. */
  addEnded(counts: Counts): void {
    this.inherit(countsOfEnded(counts));
  }

  /** All of it, with what the older generations last said. */
  total(reports: readonly GenerationReport[]): Counts {
    const older = reports.flatMap(({ counts }) => counts ?? []);
    return [...older, this.#ended].reduce(addCounts, this.own);
  }
}
