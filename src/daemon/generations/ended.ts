/**
 * What processes moved that have ended: the daemon that serves counts it from then on. Each process is
 * counted once, although its predecessor and its successor both see it end when it does so between them.
 */
import type { GenerationReport } from '../../control/shapes.ts';
import type { Book } from '../metrics/book.ts';
import type { Adoption } from '../../forward/adoption.ts';

/** The counts of processes of this daemon that have ended, added to the rules' own; put off while a restart decides who counts them. */
export class EndedGenerations {
  readonly #adoption: Pick<Adoption, 'add'>;
  readonly #book: Pick<Book, 'addEnded'> | null;
  readonly #counted = new Set<string>();
  readonly #booked = new Set<string>();
  #deferred: GenerationReport[] | null = null;

  constructor(adoption: Pick<Adoption, 'add'>, book: Pick<Book, 'addEnded'> | null = null) {
    this.#adoption = adoption;
    this.#book = book;
  }

  /** A generation has ended; this is the last that it said. */
  ended(report: GenerationReport): void {
    if (this.#deferred) this.#deferred.push(report);
    else this.#count(report);
  }

  /** Count nothing for the time being: it is not decided which process does. */
  defer(): void {
    this.#deferred ??= [];
  }

  /** Those that ended since `hold`. */
  get deferred(): readonly GenerationReport[] {
    return this.#deferred ?? [];
  }

  /** This process counts them, and what ended meanwhile. */
  resume(): void {
    const deferred = this.#deferred ?? [];
    this.#deferred = null;
    for (const report of deferred) this.#count(report);
  }

  #count(report: GenerationReport): void {
    const name = `${report.pid} ${report.since}`;
    if (report.counts && !this.#booked.has(name)) this.#book?.addEnded(report.counts);
    this.#booked.add(name);
    // A version that does not say so tells of bytes that its successor counts already.
    if (report.isRest !== true) return;
    if (this.#counted.has(name)) return;
    this.#counted.add(name);
    for (const { srcKey, dstKey, row } of report.rows) this.#adoption.add({ srcKey, dstKey }, row);
  }
}
