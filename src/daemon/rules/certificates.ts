/** What is to be said of the certificates of rules: that they have expired, or soon do, or that nobody can use them. */
import { checkClient, checkServer } from '../../endpoint/check.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import { expiriesOf } from './expiries.ts';
import type { Expiry } from './expiries.ts';
import type { Log } from '../log/log.ts';

/** Certificates last for months, and those who renew them look once or twice a day. */
const lookMs = 12 * 3_600_000;

/** Looks at the files of rules when they start, change and are reloaded, and twice a day. Each warning is logged once. */
export class Certificates {
  readonly #log: Log;
  readonly #specs: () => readonly RuleSpec[];
  #warnings = new Map<string, readonly string[]>();
  #expiries = new Map<string, readonly (Expiry & { src: string })[]>();
  #timer: NodeJS.Timeout | null = null;

  /** `specs` tells the rules that are served now. */
  constructor({ log, specs }: { log: Log; specs: () => readonly RuleSpec[] }) {
    this.#log = log;
    this.#specs = specs;
  }

  /** Look at the files of a rule. Returns all that is to be said of them, for the client that asked. */
  look(rule: RuleSpec): readonly string[] {
    const warnings = warningsOf(rule);
    const before = this.#warnings.get(keyOf(rule)) ?? [];
    for (const warning of warnings) {
      if (!before.includes(warning)) this.#log.warn({ src: rule.src.typed, dst: rule.dst.typed }, warning);
    }
    this.#warnings.set(keyOf(rule), warnings);
    this.#expiries.set(
      keyOf(rule),
      expiriesOf(rule.src.endpoint).map((expiry) => ({ ...expiry, src: rule.src.typed })),
    );
    return warnings;
  }

  /** Look at those of every rule, now and from time to time. */
  lookAtAll(): void {
    const specs = this.#specs();
    for (const rule of specs) this.look(rule);
    const keys = new Set(specs.map(keyOf));
    this.#warnings = new Map([...this.#warnings].filter(([key]) => keys.has(key)));
    this.#expiries = new Map([...this.#expiries].filter(([key]) => keys.has(key)));
    this.#timer ??= setInterval(() => this.lookAtAll(), lookMs).unref();
  }

  /** Until when the certificates were valid that rules present, at the last look. */
  get expiries(): readonly (Expiry & { src: string })[] {
    const keys = new Set(this.#specs().map(keyOf));
    return [...this.#expiries].flatMap(([key, expiries]) => (keys.has(key) ? expiries : []));
  }

  /** What was to be said at the last look. */
  of(rule: RuleSpec): readonly string[] {
    return this.#warnings.get(keyOf(rule)) ?? [];
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

function keyOf({ src, dst }: RuleSpec): string {
  return JSON.stringify([src.key, dst.key]);
}

function warningsOf({ src, dst }: RuleSpec): string[] {
  const { type } = innerEndpoint(src.endpoint);
  return [
    ...(type === 'ssl' || type === 'tls' ? lookAt(() => checkServer(src.endpoint)) : []),
    ...lookAt(() => checkClient(dst.endpoint)),
  ];
}

function lookAt(check: () => string[]): string[] {
  try {
    return check();
  } catch {
    return []; // whoever opens the endpoint has said so, and goes on with what it had
  }
}
