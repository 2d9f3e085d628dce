/** The files of one end of a rule: which of them are in use, whether they have changed since, and what is to be said of them. */
import { EndpointError } from '../../endpoint/error.ts';
import { GraceError, errorMessage } from '../../error.ts';
import type { Log } from '../log/log.ts';
import type { CertificateEnd } from './certificate-end.ts';
import type { Expiry } from './expiries.ts';
import { FileSignatures } from './file-signature.ts';

/** Has whoever uses the files read them again. Returns why some of what it had stays in use. Throws GraceError, and keeps all of it. */
export type TakeFiles = () => readonly string[];

/** Looked at when they have just been read, from time to time, and when they have changed. Each warning is logged once. */
export class CertificateFiles {
  readonly #log: Log;
  #end: CertificateEnd;
  /** Signatures of those that were read last, and of those that were seen last. */
  #read: string;
  #seen: string;
  #warnings: readonly string[] = [];
  #expiries: readonly Expiry[] = [];
  /** What was skipped in directories when they were read last. */
  #skipped: readonly string[] = [];
  /** Why files that are there now are not used; none when they are. */
  #refused: readonly string[] = [];

  /**
   * They have been read, no sooner than at `sinceMs` (milliseconds since 1970; default: just now): one that has changed
   * since may have been read before. `before`: those that were followed until now.
   */
  constructor(
    end: CertificateEnd,
    {
      log,
      before,
      sinceMs = Infinity,
    }: { log: Log; before?: CertificateFiles | undefined; sinceMs?: number | undefined },
  ) {
    this.#log = log;
    this.#end = end;
    const signatures = new FileSignatures();
    this.#seen = signatures.of(end.paths);
    this.#read = signatures.haveChangedSince(end.paths, sinceMs) ? '' : this.#seen;
    if (before) this.#warnings = before.#warnings;
    this.#inspect();
  }

  /** What was to be said at the last look. */
  get warnings(): readonly string[] {
    return [...this.#refused.map(unused), ...this.#warnings];
  }

  /** Until when the certificates in use are valid. */
  get expiries(): readonly Expiry[] {
    return this.#expiries;
  }

  /** Time has passed, or the rule is called otherwise. Of files that are not in use there is nothing new to be said. */
  lookAgain(end: CertificateEnd | null = null): void {
    this.#end = end ?? this.#end;
    if (this.#refused.length === 0) this.#inspect();
  }

  /** Take the files as they are now, unless they are bad. Returns whether all are in use. */
  reload(take: TakeFiles, signatures: FileSignatures = new FileSignatures()): boolean {
    this.#read = this.#seen = signatures.of(this.#end.paths);
    try {
      const warnings = this.#end.isTakenInParts ? null : this.#mustBeGood();
      this.#refuse(take());
      if (warnings) this.#note(warnings);
      // Of those that are not in use there is no more to be said.
      else this.#inspect({ isAllUsed: this.#refused.length === 0 });
    } catch (error) {
      this.#refuse([error instanceof EndpointError ? error.reason : errorMessage(error)]);
    }
    return this.#refused.length === 0;
  }

  #refuse(reasons: readonly string[]): void {
    for (const why of reasons)
      if (!this.#refused.includes(why)) this.#log.error({ ...this.#end.named, error: why }, NOT_RELOADED);
    this.#refused = reasons;
  }

  /** Take the files if they have changed, and do not change any more. Returns whether they are changing. */
  follow(take: TakeFiles, signatures: FileSignatures): boolean {
    const now = signatures.of(this.#end.paths);
    if (now === this.#read) return false;
    const isSettled = now === this.#seen;
    this.#seen = now;
    if (!isSettled) return true;
    if (this.reload(take, signatures)) this.#log.info(this.#end.named, RELOADED);
    return false;
  }

  #inspect({ isAllUsed = true }: { isAllUsed?: boolean } = {}): void {
    const before = this.#expiries;
    try {
      const told = new Set(this.#refused.flatMap((why) => [why, `skipped: ${why}`]));
      this.#note(this.#end.check().filter((each) => !told.has(each)));
    } catch {
      if (isAllUsed) this.#note([]); // whoever opens the endpoint has said so, and goes on with what it had
    }
    if (!isAllUsed) this.#expiries = [...this.#expiries, ...before.filter((each) => !isAmong(this.#expiries, each))];
  }

  /** The files in use have been read, and this is to be said of them. */
  #note(warnings: readonly string[]): void {
    for (const warning of warnings) if (!this.#warnings.includes(warning)) this.#log.warn(this.#end.named, warning);
    this.#warnings = warnings;
    this.#skipped = skippedOf(warnings);
    this.#expiries = this.#end.expiries();
  }

  /** Returns what is to be said of the files. Throws for those that would be worse than those in use: unreadable, a key that does not fit, a chain with a gap, out of date. */
  #mustBeGood(): readonly string[] {
    const problems: string[] = [];
    const warnings = this.#end.check((problem) => void problems.push(problem));
    const lost = skippedOf(warnings).find((each) => !this.#skipped.includes(each));
    const problem = problems[0] ?? lost;
    if (problem !== undefined) throw new GraceError(problem);
    return warnings;
  }
}

const NOT_RELOADED = 'certificates not reloaded; the old ones stay';
const RELOADED = 'certificates reloaded, since their files have changed';

function isAmong(expiries: readonly Expiry[], { name }: Expiry): boolean {
  return expiries.some((each) => each.name === name);
}

function unused(why: string): string {
  return `its certificates have changed, and the old ones stay in use: ${why}`;
}

function skippedOf(warnings: readonly string[]): string[] {
  return warnings.filter((each) => each.startsWith('skipped:'));
}
