/** The certificates of rules: what is to be said of them, and that new files are taken, if they are good ones. */
import { checkClient, checkServer } from '../../endpoint/check.ts';
import { EndpointError } from '../../endpoint/error.ts';
import { speaksTls } from '../../endpoint/inner.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { specsOf } from '../../forward/routing.ts';
import type { Rule, RuleSpec } from '../../forward/rule.ts';
import type { Log } from '../log/log.ts';
import { expiriesOf } from './expiries.ts';
import type { Expiry } from './expiries.ts';
import { signatureOf } from './file-signature.ts';

/** Certificates last for months, and those who renew them look once or twice a day. */
const lookMs = 12 * 3_600_000;
/** Time between two looks at whether files have changed, and when they have, until they are looked at again: they may be half written. */
const watchMs = 1000;
const settleMs = 300;
/** Looking takes no more than this share of the time. */
const restPerLook = 20;

/** A rule whose certificates can be read again: `Rule` of forward/rule.ts. */
export type ReloadableRule = Pick<Rule, 'src' | 'spec' | 'reload'>;

/** What is known of the files of a rule. */
type Known = {
  /** Of the files that were read last, and of those that were seen last. */
  read: string;
  seen: string;
  warnings: readonly string[];
  /** Until when the certificates are valid that are presented. */
  expiries: readonly (Expiry & { src: string })[];
  /** What was skipped in directories when they were read last. */
  skipped: readonly string[];
  /** Why the files that are there now are not used; null when they are. */
  refused: string | null;
};

/** Looks at the files of rules when they start, change and are reloaded, and twice a day. Each warning is logged once. */
export class Certificates {
  readonly #log: Log;
  readonly #specs: () => readonly RuleSpec[];
  readonly #known = new Map<string, Known>();
  #timer: NodeJS.Timeout | null = null;
  #watch: NodeJS.Timeout | null = null;
  /** Looks for changes; null: nobody wants them looked for. */
  #lookForChanges: (() => void) | null = null;

  /** `specs` tells the rules that are served now. */
  constructor({ log, specs }: { log: Log; specs: () => readonly RuleSpec[] }) {
    this.#log = log;
    this.#specs = specs;
  }

  /** Look at the files of a rule, which have just been read for it. Returns all that is to be said of them, for the client that asked. */
  look(rule: RuleSpec): readonly string[] {
    const read = signatureOf(rule.src.endpoint);
    return this.#inspect(rule, { read, seen: read });
  }

  /** The same of a rule whose files have been read before: what is there now need not be what is in use. */
  lookAgain(rule: RuleSpec): readonly string[] {
    const before = this.#known.get(rule.src.key);
    if (before === undefined) return this.look(rule);
    return before.refused === null ? this.#inspect(rule, before) : this.of(rule);
  }

  #inspect(rule: RuleSpec, { read, seen }: Pick<Known, 'read' | 'seen'>): readonly string[] {
    const before = this.#known.get(rule.src.key);
    const inspection = inspect(rule);
    this.#known.set(rule.src.key, { ...inspection, read, seen, refused: null });
    if (hasFiles(rule)) this.#watchAgain(watchMs);
    for (const warning of inspection.warnings)
      if (!before?.warnings.includes(warning)) this.#log.warn({ src: rule.src.typed, dst: rule.dst.typed }, warning);
    return inspection.warnings;
  }

  /** Look at those of every rule, now and from time to time. */
  lookAtAll(): void {
    const specs = this.#specs();
    for (const rule of specs) this.lookAgain(rule);
    const keys = new Set(specs.map(({ src }) => src.key));
    for (const key of this.#known.keys()) if (!keys.has(key)) this.#known.delete(key);
    this.#timer ??= setInterval(() => this.lookAtAll(), lookMs).unref();
  }

  /** What was to be said at the last look. */
  of(rule: RuleSpec): readonly string[] {
    const known = this.#known.get(rule.src.key);
    if (known === undefined) return [];
    return known.refused === null ? known.warnings : [unused(known.refused), ...known.warnings];
  }

  /** Until when the first of the certificates of a rule is valid (ISO 8601); null for a rule without any. */
  endOf(rule: RuleSpec): string | null {
    const ends = (this.#known.get(rule.src.key)?.expiries ?? []).map(({ untilSeconds }) => untilSeconds * 1000);
    return ends.length === 0 ? null : new Date(Math.min(...ends)).toISOString();
  }

  /** Until when the certificates are valid that rules present. */
  get expiries(): readonly (Expiry & { src: string })[] {
    return this.#specs().flatMap(({ src }) => this.#known.get(src.key)?.expiries ?? []);
  }

  /** Take the files of a rule as they are now, unless they are bad. Returns whether they are in use. */
  reload(rule: ReloadableRule): boolean {
    const { spec } = rule;
    const before = this.#known.get(spec.src.key);
    const read = signatureOf(rule.src.endpoint);
    try {
      if (hasFiles(spec)) mustBeGood(spec, before?.skipped ?? []);
      rule.reload();
    } catch (error) {
      const refused = error instanceof EndpointError ? error.reason : errorMessage(error);
      if (before?.refused !== refused) this.#log.error({ src: rule.src.typed, error: refused }, NOT_RELOADED);
      const { warnings = [], expiries = [], skipped = [] } = before ?? {};
      this.#known.set(spec.src.key, { warnings, expiries, skipped, read, seen: read, refused });
      return false;
    }
    this.#inspect(spec, { read, seen: read });
    return true;
  }

  /** Follow the files of these rules from now on: those that have changed are read again within two seconds. */
  watch(rules: () => readonly ReloadableRule[]): void {
    const look = () => {
      const began = performance.now();
      const isChanging = rules()
        .map((rule) => this.#lookForChange(rule))
        .includes(true);
      const restMs = (performance.now() - began) * restPerLook;
      this.#watch = null;
      this.#watchAgain(Math.max(isChanging ? settleMs : watchMs, restMs));
    };
    this.#lookForChanges = look;
    this.#watchAgain(watchMs);
  }

  /** A daemon that has no files to look at is not to wake for them. */
  #watchAgain(inMs: number): void {
    if (this.#watch !== null || this.#lookForChanges === null || !this.#specs().some(hasFiles)) return;
    this.#watch = setTimeout(this.#lookForChanges, inMs).unref();
  }

  /** Returns whether the files of the rule are being changed at the moment. */
  #lookForChange(rule: ReloadableRule): boolean {
    const { spec } = rule;
    const known = this.#known.get(spec.src.key);
    if (known === undefined || !hasFiles(spec)) return false;
    const now = signatureOf(rule.src.endpoint);
    if (now === known.read) return false;
    const isSettled = now === known.seen;
    known.seen = now;
    if (!isSettled) return true;
    if (this.reload(rule))
      this.#log.info({ src: rule.src.typed }, 'certificates reloaded, since their files have changed');
    return false;
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#watch !== null) clearTimeout(this.#watch);
    this.#timer = null;
    this.#watch = null;
    this.#lookForChanges = null;
  }
}

const NOT_RELOADED = 'certificates not reloaded; the old ones stay';

function unused(why: string): string {
  return `its certificates have changed, and the old ones stay in use: ${why}`;
}

function hasFiles({ src }: RuleSpec): boolean {
  return speaksTls(src.endpoint);
}

/** Throws for files that would be worse than those in use: unreadable, a key that does not fit, a chain with a gap, out of date. */
function mustBeGood({ src }: RuleSpec, skippedBefore: readonly string[]): void {
  const problems: string[] = [];
  const warnings = checkServer(src.endpoint, { object: (problem) => void problems.push(problem) });
  const [problem] = problems;
  if (problem !== undefined) throw new GraceError(problem);
  const lost = skippedOf(warnings).find((each) => !skippedBefore.includes(each));
  if (lost !== undefined) throw new GraceError(lost);
}

type Inspection = Pick<Known, 'warnings' | 'expiries' | 'skipped'>;

function inspect(rule: RuleSpec): Inspection {
  const own = hasFiles(rule) ? lookAt(() => checkServer(rule.src.endpoint)) : [];
  return {
    warnings: [...own, ...specsOf(rule).flatMap((dst) => lookAt(() => checkClient(dst.endpoint)))],
    expiries: expiriesOf(rule.src.endpoint).map((expiry) => ({ ...expiry, src: rule.src.typed })),
    skipped: skippedOf(own),
  };
}

function skippedOf(warnings: readonly string[]): string[] {
  return warnings.filter((each) => each.startsWith('skipped:'));
}

function lookAt(check: () => string[]): string[] {
  try {
    return check();
  } catch {
    return []; // whoever opens the endpoint has said so, and goes on with what it had
  }
}
