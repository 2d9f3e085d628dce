import type { Changes } from './changes.ts';
import type { Draining } from './draining.ts';
import type { ChangeGate } from './gate.ts';
import type { RuleOpener } from './opener.ts';
import type { RuleTable } from './table.ts';

/** Rules that do not change while a successor is made from their snapshot, until one of the last three is called. */
export type Standstill = {
  /** Stop accepting; a client that waits in a queue stays there. */
  pause(): Promise<void>;
  /** Nothing was paused: go on. */
  release(): void;
  /** Accept again and go on. */
  resume(): void;
  /** Let go of all listeners, which a successor has; changes that come now fail with the reason. */
  handOver(reason: Error): void;
};

/** What has a part in it. */
export type StandstillOptions = {
  gate: ChangeGate;
  table: RuleTable;
  opener: RuleOpener;
  draining: Draining;
  changes: Changes;
};

/** Hold changes back, once those that run are through. Rejects with the signal's reason. */
export async function standStill(
  { gate, table, opener, draining, changes }: StandstillOptions,
  options: { signal?: AbortSignal },
): Promise<Standstill> {
  const open = await gate.shut(options);
  return {
    pause: async () => void (await Promise.all(table.rules.map((rule) => rule.pause()))),
    release: () => {
      // A successor that came to nothing may have been told of clients.
      for (const { frontend } of table.rules) frontend.lookInQueue?.();
      open();
    },
    resume: () => {
      for (const rule of table.rules) rule.resume(opener.openFrontend(rule));
      open();
    },
    handOver: (reason) => {
      draining.release(table.takeRules(), reason);
      table.forgetBroken();
      open(reason);
      changes.notify();
    },
  };
}
