/** The certificates of rules, of sources and of destinations: what is to be said of them, and that new files are taken, if they are good ones. */
import type { TlsEnds, Upstream } from '../../engine/engine.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import { specsOf } from '../../forward/routing.ts';
import type { Rule, RuleSpec, SourceSpec } from '../../forward/rule.ts';
import type { Log } from '../log/log.ts';
import { certificatesOfDestination, certificatesOfSource } from './certificate-end.ts';
import { CertificateFiles } from './certificate-files.ts';
import type { TakeFiles } from './certificate-files.ts';
import { firstOfEach } from './expiries.ts';
import type { Expiry } from './expiries.ts';
import { FileSignatures } from './file-signature.ts';

/** Certificates last for months, and those who renew them look once or twice a day. */
const lookMs = 12 * 3_600_000;
/** Time between two looks at whether files have changed, and when they have, until they are looked at again: they may be half written. */
const watchMs = 1000;
const settleMs = 300;
/** Looking takes no more than this share of the time. */
const restPerLook = 20;

/** A rule whose certificates can be read again: `Rule` of forward/rule.ts. */
export type ReloadableRule = Pick<Rule, 'src' | 'reload'> & {
  readonly known: readonly { readonly spec: DestinationSpec; readonly upstream: Pick<Upstream, 'reload'> }[];
};

/** Whose certificate it is: that of a source, or with `dst` what a destination is shown. */
export type RuleExpiry = Expiry & { src: string; dst?: string };

/** The files of some TLS that is spoken towards a destination. */
type DestinationFiles = { readonly speaks: TlsEnds; readonly files: CertificateFiles };

/** Looks at the files of rules when they start, change and are reloaded, and twice a day. */
export class Certificates {
  readonly #log: Log;
  readonly #specs: () => readonly RuleSpec[];
  /** By the keys of the sources. */
  readonly #sources = new Map<string, CertificateFiles>();
  /** A specification is that of one destination of one rule. One of several places has files of its own. */
  readonly #destinations = new WeakMap<DestinationSpec, readonly DestinationFiles[]>();
  #timer: NodeJS.Timeout | null = null;
  #watch: NodeJS.Timeout | null = null;
  /** Looks for changes; null: nobody wants them looked for. */
  #lookForChanges: (() => void) | null = null;

  /** `specs` tells the rules that are served now. */
  constructor({ log, specs }: { log: Log; specs: () => readonly RuleSpec[] }) {
    this.#log = log;
    this.#specs = specs;
  }

  /** Look at the files of a rule whose source has just been opened. Returns all that is to be said of them, for the client that asked. */
  look(rule: RuleSpec, sinceMs?: number): readonly string[] {
    const { key } = rule.src;
    const end = certificatesOfSource(rule.src);
    if (end === null) this.#sources.delete(key);
    else this.#sources.set(key, new CertificateFiles(end, { log: this.#log, before: this.#sources.get(key), sinceMs }));
    return this.#lookAtDestinations(rule, sinceMs);
  }

  /** The same of a rule whose source has been open before: what is there now need not be what is in use. */
  lookAgain(rule: RuleSpec, sinceMs?: number): readonly string[] {
    const source = this.#sources.get(rule.src.key);
    if (source === undefined) return this.look(rule, sinceMs);
    source.lookAgain();
    return this.#lookAtDestinations(rule);
  }

  #lookAtDestinations(rule: RuleSpec, sinceMs?: number): readonly string[] {
    const files = specsOf(rule).flatMap((dst) => {
      const known = this.#destinations.get(dst) ?? [];
      const ends = known.length === 0 ? [] : certificatesOfDestination(rule.src, dst);
      for (const [index, each] of known.entries()) each.files.lookAgain(ends[index]);
      return this.#ofDestination(rule.src, dst, sinceMs);
    });
    if (this.#hasFiles(rule)) this.#watchAgain(watchMs);
    return warningsOf(this.#sources.get(rule.src.key), files);
  }

  /** Those of a destination, which has just been opened if they are not known. */
  #ofDestination(src: SourceSpec, dst: DestinationSpec, sinceMs?: number): readonly DestinationFiles[] {
    const known = this.#destinations.get(dst);
    if (known !== undefined) return known;
    const found = certificatesOfDestination(src, dst).map((end) => ({
      speaks: end.speaks,
      files: new CertificateFiles(end, { log: this.#log, sinceMs }),
    }));
    this.#destinations.set(dst, found);
    return found;
  }

  /** Look at those of every rule, now and from time to time. The first time they have been read since the process began. */
  lookAtAll(): void {
    const specs = this.#specs();
    const sinceMs = this.#timer === null ? performance.timeOrigin : undefined;
    for (const rule of specs) this.lookAgain(rule, sinceMs);
    const keys = new Set(specs.map(({ src }) => src.key));
    for (const key of this.#sources.keys()) if (!keys.has(key)) this.#sources.delete(key);
    this.#timer ??= setInterval(() => this.lookAtAll(), lookMs).unref();
  }

  /** What was to be said at the last look of the source, and of one destination. */
  of({ src, dst }: Pick<RuleSpec, 'src' | 'dst'>): readonly string[] {
    return warningsOf(this.#sources.get(src.key), this.#destinations.get(dst));
  }

  /** Until when the first of the certificates is valid that clients see, and of those that a destination does (ISO 8601); null without any. */
  endsOf({ src, dst }: Pick<RuleSpec, 'src' | 'dst'>): { source: string | null; destination: string | null } {
    return {
      source: firstEnd(this.#sources.get(src.key)?.expiries),
      destination: firstEnd(expiriesOf(this.#destinations.get(dst))),
    };
  }

  /** Until when the certificates are valid that rules present, to clients and to destinations. */
  get expiries(): readonly RuleExpiry[] {
    return this.#specs().flatMap((rule) => {
      const { src } = rule;
      const ofSource = this.#sources.get(src.key)?.expiries ?? [];
      const ofDestinations = specsOf(rule).flatMap((dst) =>
        expiriesOf(this.#destinations.get(dst)).map((each) => ({ ...each, src: src.typed, dst: dst.typed })),
      );
      return [...ofSource.map((each) => ({ ...each, src: src.typed })), ...ofDestinations];
    });
  }

  /** Take the files of a rule as they are now, unless they are bad. Returns whether all are in use. */
  reload(rule: ReloadableRule): boolean {
    let areInUse = true;
    this.#each(rule, (files, take) => {
      if (!files.reload(take)) areInUse = false;
    });
    return areInUse;
  }

  /** The files of both ends of a rule, with who takes them. */
  #each(rule: ReloadableRule, act: (files: CertificateFiles, take: TakeFiles) => void): void {
    const source = this.#sources.get(rule.src.key);
    if (source) act(source, () => rule.reload());
    // Those too that it only has connections with: it may go there again.
    for (const { spec, upstream } of rule.known)
      for (const { speaks, files } of this.#ofDestination(rule.src, spec))
        act(files, () => {
          upstream.reload(speaks);
          return [];
        });
  }

  /** Follow the files of these rules from now on: those that have changed are read again within two seconds. `rules` returns null when they are not to be touched. */
  watch(rules: () => readonly ReloadableRule[] | null): void {
    const look = () => {
      const began = performance.now();
      const signatures = new FileSignatures();
      const now = rules();
      let areSome = now === null;
      let isChanging = false;
      for (const rule of now ?? [])
        this.#each(rule, (files, take) => {
          areSome = true;
          if (files.follow(take, signatures)) isChanging = true;
        });
      const restMs = (performance.now() - began) * restPerLook;
      this.#watch = null;
      if (areSome || this.#haveFiles) this.#watchAgain(Math.max(isChanging ? settleMs : watchMs, restMs));
    };
    this.#lookForChanges = look;
    if (this.#haveFiles) this.#watchAgain(watchMs);
  }

  /** There are files to look at: a daemon that has none is not to wake for them. */
  #watchAgain(inMs: number): void {
    if (this.#watch !== null || this.#lookForChanges === null) return;
    this.#watch = setTimeout(this.#lookForChanges, inMs).unref();
  }

  /** Whether some rule has files, those included that are not served at the moment. */
  get #haveFiles(): boolean {
    return this.#specs().some((rule) => this.#hasFiles(rule));
  }

  #hasFiles(rule: RuleSpec): boolean {
    return this.#sources.has(rule.src.key) || specsOf(rule).some((dst) => this.#destinations.get(dst)?.length);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#watch !== null) clearTimeout(this.#watch);
    this.#timer = null;
    this.#watch = null;
    this.#lookForChanges = null;
  }
}

/** Places of a destination may share files that are bad: once is enough. */
function warningsOf(
  source: CertificateFiles | undefined,
  destinations: readonly DestinationFiles[] = [],
): readonly string[] {
  const all = [source, ...destinations.map(({ files }) => files)].flatMap((each) => each?.warnings ?? []);
  return [...new Set(all)];
}

function expiriesOf(destinations: readonly DestinationFiles[] = []): Expiry[] {
  return firstOfEach(destinations.flatMap(({ files }) => files.expiries));
}

function firstEnd(expiries: readonly Expiry[] = []): string | null {
  const ends = expiries.map(({ untilSeconds }) => untilSeconds * 1000);
  return ends.length === 0 ? null : new Date(Math.min(...ends)).toISOString();
}
