/**
 * How releases are laid out below a base address, which is how GitHub has them and what any
 * file server can have:
 *
 *     latest/download/SHA256SUMS, SHA256SUMS.sig      of the newest release
 *     download/v0.1.0/SHA256SUMS, SHA256SUMS.sig      of each
 *     download/v0.1.0/grace-0.1.0-linux-x64.zst …     what they are the sums of
 *
 * Versions are in the names of the files, so the signature over SHA256SUMS says which version it is
 * of, and an old release cannot be passed off as another one.
 */

/** The list of a release: a line for each file, its SHA-256 and its name, as sha256sum(1) has it. */
export const sumsName = 'SHA256SUMS';
/** The Ed25519 signature of SHA256SUMS, 64 bytes. */
export const signatureName = 'SHA256SUMS.sig';

/** How an executable is packed: `zst` where the runtime can unpack it, else `gz`. */
export type Compression = 'zst' | 'gz';

/** The kind of machine as file names have it: `linux-x64`, `macos-arm64`. */
export function machineName(platform: string, arch: string): string {
  return `${platform === 'darwin' ? 'macos' : platform}-${arch}`;
}

/** The name of an executable's file in a release. */
export function artifactName({
  version,
  machine,
  compression,
}: {
  version: string;
  machine: string;
  compression: Compression;
}): string {
  return `grace-${version}-${machine}.${compression}`;
}

/** Address of a file of a release: of the newest one with `version` null. */
export function releaseFileUrl(base: string, version: string | null, name: string): URL {
  const directory = version === null ? 'latest/download' : `download/v${encodeURIComponent(version)}`;
  return new URL(`${base.replace(/\/+$/, '')}/${directory}/${encodeURIComponent(name)}`);
}

/** SHA-256, in hexadecimal, by file name. Lines that are none are left out. */
export function parseSums(text: string): Map<string, string> {
  const lines = text.matchAll(/^([0-9a-f]{64}) [ *](\S+)$/gm);
  return new Map(Array.from(lines, ([, sum = '', name = '']) => [name, sum]));
}

/** The version that a release holds for a kind of machine, or null when it holds none. */
export function versionFor(sums: ReadonlyMap<string, string>, machine: string): string | null {
  for (const name of sums.keys()) {
    const version =
      name.startsWith('grace-') && name.endsWith(`-${machine}.zst`)
        ? name.slice('grace-'.length, -`-${machine}.zst`.length)
        : '';
    if (isVersion(version)) return version;
  }
  return null;
}

/** Whether a text is a version (semver.org, without build metadata), of a length that is sensible. */
export function isVersion(text: string): boolean {
  return /^\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]{1,60})?$/.test(text);
}

/** Negative when `a` comes before `b`, in the order of semver.org (section 11). */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [splitVersion(a), splitVersion(b)];
  const byNumbers = compareLists(left.numbers, right.numbers);
  if (byNumbers !== 0) return byNumbers;
  if (left.suffix.length === 0 || right.suffix.length === 0) return right.suffix.length - left.suffix.length; // 1.0.0-rc is before 1.0.0
  return compareLists(left.suffix, right.suffix);
}

function splitVersion(version: string): { numbers: string[]; suffix: string[] } {
  const dash = version.indexOf('-');
  const numbers = dash < 0 ? version : version.slice(0, dash);
  return { numbers: numbers.split('.'), suffix: dash < 0 ? [] : version.slice(dash + 1).split('.') };
}

function compareLists(a: readonly string[], b: readonly string[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    const areNumbers = [left, right].map((part) => /^\d+$/.test(part));
    if (areNumbers[0] !== areNumbers[1]) return areNumbers[0] ? -1 : 1; // numbers come before words
    const difference = areNumbers[0] ? Number(left) - Number(right) : left < right ? -1 : left > right ? 1 : 0;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
