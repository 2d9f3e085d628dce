/**
 * The rules in memory, for a start after a crash whose state dir is gone or cannot be read: the keeper
 * holds them beside the sockets. Whatever is on disk counts before them.
 */
import * as v from 'valibot';
import { closeFd } from '../../sys/descriptor.ts';
import { openMemoryFile, readMemoryFile } from '../../sys/memory-file.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import { ruleSchema } from './rules-file.ts';
import type { StoredRule } from './rules-file.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { Troubles } from '../troubles.ts';

/** Each process has a name of its own for them: what a predecessor takes back is its own. */
const prefix = 'grace-rules ';

/** Decimal digits of the length that comes first. */
const headSize = 10;

/** Whether what the keeper holds under this name are rules. */
export function isRulesCopy(name: string): boolean {
  return name.startsWith(prefix);
}

/** What an earlier daemon left with the keeper; null when it cannot be understood. Closes the descriptor. */
export function readRulesCopy(fd: number): StoredRule[] | null {
  try {
    const size = Number(new TextDecoder().decode(readMemoryFile(fd, headSize)));
    const text = new TextDecoder().decode(readMemoryFile(fd, headSize + size).subarray(headSize));
    return v.parse(v.array(ruleSchema), JSON.parse(text));
  } catch {
    return null;
  } finally {
    closeFd(fd);
  }
}

/** The rules that this process has left with the keeper. Owns the descriptor of them until `forget`. */
export class RulesCopy {
  readonly #supervisor: Supervisor;
  readonly #troubles: Pick<Troubles, 'attempt'>;
  readonly #name = `${prefix}${process.pid}`;
  #fd: number | null = null;

  constructor(supervisor: Supervisor, troubles: Pick<Troubles, 'attempt'>) {
    this.#supervisor = supervisor;
    this.#troubles = troubles;
  }

  /** Leave these with the keeper, in place of those before. Where there is no memory or descriptor for them, those on disk must do. */
  remember(rules: readonly StoredRule[]): void {
    if (this.#supervisor.keeper === null || !hasLinuxCalls) return;
    this.#troubles.attempt('the keeper cannot be given a copy of the rules', () => this.#leave(rules));
  }

  #leave(rules: readonly StoredRule[]): void {
    const text = new TextEncoder().encode(JSON.stringify(rules));
    const before = this.#fd;
    this.#fd = openMemoryFile(
      'grace-rules',
      Buffer.concat([Buffer.from(String(text.length).padStart(headSize, '0')), text]),
    );
    this.#supervisor.store(this.#name, this.#fd);
    if (before !== null) closeFd(before);
  }

  /** A successor leaves its own, or the daemon ends for good. */
  forget(): void {
    if (this.#fd === null) return;
    this.#supervisor.forget(this.#name);
    closeFd(this.#fd);
    this.#fd = null;
  }
}
