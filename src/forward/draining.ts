import type { Destination } from './destination.ts';
import type { ForwarderOptions } from './options.ts';
import type { Rule } from './rule.ts';
import type { RuleTable } from './table.ts';

/** Where the rules are, and whom to notify. */
export type DrainingOptions = Pick<ForwarderOptions, 'closeListener' | 'changes'> & { table: RuleTable };

/** Destinations that get no new connections: of rules that were switched, stopped or handed over, until the last connection has ended. */
export class Draining {
  readonly #options: DrainingOptions;

  constructor(options: DrainingOptions) {
    this.#options = options;
  }

  /** These rules are out of the table: nobody is accepted any more, and what is open goes on. Returns their destinations. */
  async end(rules: readonly Rule[]): Promise<Destination[]> {
    for (const rule of rules) rule.endTrial({ result: 'superseded' });
    for (const rule of rules) this.#orphan(rule);
    await Promise.all(rules.map((rule) => this.#shut(rule)));
    return rules.flatMap((rule) => this.#watchAll(rule));
  }

  /** These rules are out of the table and accept nobody; a successor has their listeners, and goes on with what was on trial. */
  release(rules: readonly Rule[], reason: Error): void {
    for (const rule of rules) {
      rule.abandonTrial(reason);
      this.#orphan(rule);
      this.#watchAll(rule);
      rule.listener.close();
    }
  }

  /** It gets no new connections: when the last has ended, it is over, unless it is routed to again by then. */
  watch(destination: Destination): void {
    const { table, changes } = this.#options;
    void destination.upstream.drained().then(() => {
      if (destination.stats().connections === 0 && table.forget(destination)) destination.forget();
      changes.notify();
    });
  }

  #orphan(rule: Rule): void {
    const { table, changes } = this.#options;
    for (const destination of rule.destinations)
      table.addOrphan(rule.src, destination, destination === rule.current ? rule.hold : null);
    changes.notify();
  }

  async #shut(rule: Rule): Promise<void> {
    await rule.pause();
    rule.hold.end(); // whoever waits is among those that get a time to finish
    this.#options.closeListener(rule.src, rule.listener);
  }

  /** Only when nobody is accepted there any more. */
  #watchAll(rule: Rule): Destination[] {
    const destinations = [...rule.destinations];
    for (const destination of rule.known) this.watch(destination);
    return destinations;
  }
}
