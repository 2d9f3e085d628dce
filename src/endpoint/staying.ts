/** Which certificates of a directory stay in use after it has been read again, since their files are bad now. */
import { existsSync } from 'node:fs';
import { fsPath } from '../sys/file-name.ts';
import type { NamedIdentity } from './directory.ts';
import { quoted } from './error.ts';
import { readCertificate } from './pem.ts';
import { isValidAt, validityWarning } from './validity.ts';

/**
 * What a directory has now, and of what it had before those whose file is there and has no such certificate any more: it is
 * damaged, its key does not fit, or it is out of date. One whose file has a good certificate for other names was meant to go, and
 * so was one whose file is gone, unless another file has become bad: it may lie there now, as where Kubernetes puts every version
 * into a directory of its own. In the order of a directory, with why each stays.
 *
 * @param before what it had, and what was said then of files that could not be used
 * @param skipped what is said of them now
 */
export function withThoseThatStay(
  now: readonly NamedIdentity[],
  before: { readonly named: readonly NamedIdentity[]; readonly skipped: readonly string[] },
  skipped: readonly string[],
  nowMs: number = Date.now(),
): { identities: NamedIdentity[]; reasons: string[] } {
  const valid = now.filter(({ validity }) => isValidAt(validity, nowMs));
  const becameBad = skipped.filter((each) => !before.skipped.includes(each));
  const staying = before.named.filter(
    (each) =>
      isValidAt(each.validity, nowMs) &&
      !valid.some((other) => other.certFile === each.certFile || standsFor(other, each)) &&
      (becameBad.length > 0 || existsSync(fsPath(each.certFile))),
  );
  const reasons = staying.map((each) => reasonOf(each, { now, skipped, becameBad, nowMs }));
  return { identities: [...now, ...staying].sort(byKeyFile), reasons: [...new Set(reasons)] };
}

function standsFor({ names, keyType }: NamedIdentity, other: NamedIdentity): boolean {
  return keyType === other.keyType && other.names.every((name) => names.includes(name));
}

type Seen = {
  now: readonly NamedIdentity[];
  skipped: readonly string[];
  becameBad: readonly string[];
  nowMs: number;
};

function reasonOf({ certFile, keyFile }: NamedIdentity, { now, skipped, becameBad, nowMs }: Seen): string {
  const outOfDate = now.find((each) => each.certFile === certFile);
  if (outOfDate) return `${quoted(certFile)}: ${validityWarning(readCertificate(outOfDate.cert), nowMs)}`;
  const ofItself = skipped.find((each) => [certFile, keyFile].some((file) => each.includes(quoted(file))));
  const [ofAnother] = existsSync(fsPath(certFile)) ? [] : becameBad;
  return (
    (ofItself ?? ofAnother)?.replace(/^skipped: /, '') ??
    `${quoted(certFile)}: no key in the directory fits the certificate in it`
  );
}

/** As `readServerDirectory` has them. */
function byKeyFile(a: NamedIdentity, b: NamedIdentity): number {
  return a.keyFile < b.keyFile ? -1 : Number(a.keyFile > b.keyFile);
}
