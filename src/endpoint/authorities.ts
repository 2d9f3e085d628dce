/**
 * Certificates of authorities, of which a file or a directory may have hundreds, and which hundreds of rules may name: to read and
 * understand those of a system takes 15 ms. So what was found in a file stays in memory, and is read again when the file
 * is another one.
 */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fsPath } from '../sys/file-name.ts';
import { versionOf } from '../sys/file-version.ts';
import { fileError, readCertificates, readText } from './named-file.ts';
import type { NamedFile } from './named-file.ts';

/** Somebody who signs certificates. */
export type Authority = {
  /** As it stands in the file. */
  readonly pem: string;
  /** The same for the same certificate alone. */
  readonly fingerprint: string;
};

/** What a file had in it when it was read, and what it was then. */
type Remembered = { readonly signature: string; readonly authorities: readonly Authority[] };

/** Files that are remembered at the most; one more, and the one that was read first is forgotten. */
const maxFiles = 1000;

/**
 * A file that was changed so short a time before it was read, in milliseconds, may be changed again with nothing to see from outside:
 * file systems note times by the tick, some by two seconds.
 */
const unsettledMs = 2500;

/** By absolute paths. It says what the files say, for whoever asks. */
const remembered = new Map<string, Remembered>();

/** The certificates of a file, in order. `nowMs` is the time of day. Throws EndpointError where one is damaged, or there is none. */
export function readAuthorities(file: NamedFile, nowMs: number = Date.now()): readonly Authority[] {
  const path = resolve(file.path);
  const before = lookAt(path);
  const known = remembered.get(path);
  if (known !== undefined && known.signature === before?.signature) return known.authorities;
  remembered.delete(path);
  const authorities = readCertificates(file, readText(file)).map(({ pem, x509 }) => ({
    pem,
    fingerprint: x509.fingerprint256,
  }));
  if (authorities.length === 0) throw fileError(file, 'bad PEM: no certificate in it');
  if (before !== null && nowMs - before.changedAtMs > unsettledMs && lookAt(path)?.signature === before.signature)
    remember(path, { signature: before.signature, authorities });
  return authorities;
}

function remember(path: string, what: Remembered): void {
  remembered.set(path, what);
  const [first] = remembered.keys();
  if (remembered.size > maxFiles && first !== undefined) remembered.delete(first);
}

/** What a file is, behind links, without reading it; null: whoever reads it says why that cannot be. */
function lookAt(path: string): { signature: string; changedAtMs: number } | null {
  try {
    const stats = statSync(fsPath(path), { bigint: true });
    const { mtimeNs, ctimeNs } = stats;
    const changedAtMs = Number((ctimeNs > mtimeNs ? ctimeNs : mtimeNs) / 1_000_000n);
    return { signature: versionOf(stats), changedAtMs };
  } catch {
    return null;
  }
}
