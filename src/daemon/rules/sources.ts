/** Where rules come from as long as somebody follows them there (`apply --watch` of etcd), and how that goes. */

/** One that is followed. */
export type RuleSource = {
  /** As it was typed, without anything secret. */
  source: string;
  /** Grows with all that is said of it. */
  sequence: number;
  /** When rules of there were last known to be the newest, if they no longer are: nobody answers. ISO 8601. */
  staleSince?: string | undefined;
  /** Why what it says is not in force, or not all of it; or why nobody answers. */
  problem?: string | undefined;
};

/** All that are followed at the moment, each once: who says something of the same later is right. */
export class RuleSources {
  readonly #rows = new Map<string, RuleSource>();

  /** In the order in which they came. */
  get rows(): RuleSource[] {
    return [...this.#rows.values()];
  }

  /** From now on this is how it goes; false: something later was said before. */
  set(row: RuleSource): boolean {
    const isLater = row.sequence >= (this.#rows.get(row.source)?.sequence ?? 0);
    if (isLater) this.#rows.set(row.source, row);
    return isLater;
  }

  /** Whether that is how it goes still. */
  isLast(row: RuleSource): boolean {
    return this.#rows.get(row.source) === row;
  }

  /** It is followed no more. */
  remove({ source }: RuleSource): void {
    this.#rows.delete(source);
  }
}
