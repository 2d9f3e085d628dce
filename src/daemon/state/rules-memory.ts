/**
 * The rules in memory, for a start after a crash whose state dir is gone or cannot be read: the keeper
 * holds them beside the sockets. Whatever is on disk counts before them.
 */
import * as v from 'valibot';
import { KeeperCopy, readKeeperCopy } from './keeper-copy.ts';
import { ruleSchema } from './rules-file.ts';
import type { StoredRule } from './rules-file.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { Troubles } from '../troubles.ts';

const prefix = 'grace-rules ';

/** Whether what the keeper holds under this name are rules. */
export function isRulesCopy(name: string): boolean {
  return name.startsWith(prefix);
}

/** What an earlier daemon left with the keeper; null when it cannot be understood. Closes the descriptor. */
export function readRulesCopy(fd: number): StoredRule[] | null {
  try {
    return v.parse(v.array(ruleSchema), readKeeperCopy(fd));
  } catch {
    return null;
  }
}

/** The rules that this process has left with the keeper. */
export class RulesCopy {
  readonly #supervisor: Supervisor;
  readonly #copy: KeeperCopy;

  constructor(supervisor: Supervisor, troubles: Pick<Troubles, 'attempt'>) {
    this.#supervisor = supervisor;
    const trouble = 'the keeper cannot be given a copy of the rules';
    this.#copy = new KeeperCopy({ prefix, file: 'grace-rules', supervisor, troubles, trouble });
  }

  /** Leave these with the keeper, in place of those before. Where there is no memory or descriptor for them, those on disk must do. */
  remember(rules: readonly StoredRule[]): void {
    if (this.#supervisor.keeper !== null) this.#copy.leave(rules);
  }

  /** A successor leaves its own, or the daemon ends for good. */
  forget(): void {
    this.#copy.forget();
  }
}
