import { Breaks } from '../waiting.ts';
import type { ChangeGate } from './gate.ts';
import type { SourceSpec } from './rule.ts';
import { Series } from './series.ts';
import type { Transactions } from './transactions.ts';

/** Whose turn it is, where changes are stored, what each is of, and what makes it. */
export type SeriesOptions<S, T> = {
  gate: ChangeGate;
  transactions: Transactions;
  sourceOf(subject: S): SourceSpec;
  change(subject: S, series: Series): Promise<T>;
};

/** Make a change of each of these, in order up to the first that fails, and store them with one write. Returns how each went that was begun. */
export function makeInSeries<S, T>(
  subjects: readonly S[],
  { gate, transactions, sourceOf, change }: SeriesOptions<S, T>,
): Promise<PromiseSettledResult<T>[]> {
  const keys = subjects.map((each) => sourceOf(each).listenKey);
  return gate.pass(keys, async () => {
    const series = new Series();
    const breaks = new Breaks();
    const begun: Promise<T>[] = [];
    for (const subject of subjects) {
      const one = change(subject, series);
      begun.push(one);
      if (!(await series.isReady(one))) break;
      await breaks.take();
    }
    await transactions.store(series);
    return await Promise.allSettled(begun);
  });
}
