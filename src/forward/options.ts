import type { Engine, EngineObserver } from '../engine/engine.ts';
import type { TotalSlots } from '../engine/total-slots.ts';
import type { Listener } from '../net/listener.ts';
import type { Changes } from './changes.ts';
import type { Destination } from './destination.ts';
import type { Rule, RuleSpec, SourceSpec } from './rule.ts';
import type { DrainResult } from './timed-drains.ts';

/** A rule as far as it matters where it listens and where it leads. */
export type LeadingRule = Pick<Rule, 'src' | 'listener'> & { readonly routed: readonly Pick<Destination, 'spec'>[] };

/** What a forwarder needs of whoever runs it. */
export type ForwarderOptions = {
  engine: Engine;
  /** The places of all connections, which the engine has too. Default: no limit. */
  total?: TotalSlots | null;
  openListener(src: SourceSpec): Promise<Listener>;
  /**
   * Called before a rule is started, switched or restored, with all that are served or about to be: may refuse it by
   * throwing. Of a stored one the answer may not take long, since others wait to be restored.
   */
  check?(
    rule: RuleSpec & { listener: Listener },
    served: readonly LeadingRule[],
    how: { isStored: boolean },
  ): Promise<void>;
  /** Let go of the listener of a rule that stopped: nobody listens there any more. */
  closeListener(src: SourceSpec, listener: Listener): void;
  /** Whether clients cannot find a listener any more. */
  isLost?(listener: Listener): boolean;
  /** Let go of a listener in whose place the rule has another. */
  replaceListener?(before: Listener): void;
  /** The listener is a rule's that is described otherwise from now on: apply what the socket itself can change. Throws GraceError. */
  describeListener?(listener: Listener, change: { from: SourceSpec; to: SourceSpec }): void;
  /** Store the rules; a change that cannot be stored does not happen. */
  save(rules: readonly RuleSpec[]): Promise<void>;
  /** A destination whose connections were to be closed over a time has none left, or gets new ones again; an error: they are not closed any more. */
  drained?(src: SourceSpec, destination: Destination, result: DrainResult | Error): void;
  observe(src: SourceSpec): EngineObserver;
  /** Notified when a rule came, went or was switched, and when a destination that gets no new connections has drained. */
  changes: Changes;
};
