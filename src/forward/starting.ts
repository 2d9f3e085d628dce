import { GraceError } from '../error.ts';
import type { Listener } from '../net/listener.ts';
import type { RuleOpener } from './opener.ts';
import type { ForwarderOptions, LeadingRule } from './options.ts';
import type { RuleSpec, SourceSpec } from './rule.ts';
import type { Series } from './series.ts';
import type { RuleTable } from './table.ts';
import type { Transactions } from './transactions.ts';

/** What has a part in it. */
export type StartingOptions = Pick<ForwarderOptions, 'openListener' | 'closeListener' | 'check'> & {
  table: RuleTable;
  transactions: Transactions;
  opener: RuleOpener;
};

/** Starts rules that there are not yet. */
export class Starting {
  readonly #options: StartingOptions;
  /** Those that are not served yet; who comes later is checked against them too. */
  readonly #rules = new Set<LeadingRule>();

  constructor(options: StartingOptions) {
    this.#options = options;
  }

  /** Whether a rule may lead where it is to lead: throws what the check throws. */
  async check(rule: RuleSpec & { listener: Listener }): Promise<void> {
    const { check, table } = this.#options;
    await check?.(rule, [...table.rules, ...this.#rules], { isStored: false });
  }

  /** Serve a rule on a listener of its own; when it fails nobody listens there. */
  async start({ src, dst }: RuleSpec, series?: Series): Promise<void> {
    const { openListener, closeListener, table, transactions, opener } = this.#options;
    const listener = await openListener(src);
    const leading = { src, listener, routed: [{ spec: dst }] };
    try {
      const checked = this.check({ src, dst, listener });
      this.#rules.add(leading);
      await checked;
      // Nobody is accepted before the rule is stored: whoever connects meanwhile waits in the queue.
      await transactions.commit(
        (specs) => {
          mustBeFreeIn(specs, src); // another may have got the name meanwhile
          return [...specs.filter((spec) => spec.src.listenKey !== src.listenKey), { src, dst }];
        },
        () => table.add(opener.serve({ src, dst, listener })),
        series,
      );
    } catch (error) {
      closeListener(src, listener);
      throw error;
    } finally {
      this.#rules.delete(leading);
    }
  }
}

/** A name is one rule's. Throws GraceError when it is another's. */
export function mustBeFreeIn(specs: readonly RuleSpec[], { name, listenKey }: SourceSpec): void {
  if (name === undefined) return;
  const other = specs.find(({ src }) => src.name === name && src.listenKey !== listenKey);
  if (other)
    throw new GraceError(`the name ${name} is that of ${other.src.typed}`, {
      hint: `choose another, or first: grace stop ${name}`,
    });
}
