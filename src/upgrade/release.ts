/** Finds a release and brings its executable, so that nothing is believed that is not signed. */
import { createHash, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import { GraceError, errorMessage } from '../error.ts';
import {
  artifactName,
  isVersion,
  parseSums,
  releaseFileUrl,
  signatureName,
  sumsName,
  versionFor,
} from './artifacts.ts';
import { NotFoundError, downloadBytes, downloadFile } from './download.ts';
import type { DownloadOptions } from './download.ts';
import { describeError } from '../sys/system-error.ts';

/** Where releases are, and whose signature is believed. */
export type ReleasePlace = {
  /** Base address, see artifacts.ts. */
  base: string;
  keys: readonly KeyObject[];
  /** `linux-x64` */
  machine: string;
};

/** A release whose list was signed by one of the keys. `sums`: SHA-256 in hex by file name. */
export type Release = { version: string; sums: ReadonlyMap<string, string> };

/** Bounds of downloads. */
export const limits = {
  sums: 64 * 1024,
  compressed: 200 * 1024 * 1024,
  executable: 400 * 1024 * 1024,
  silenceMs: 30_000,
  totalMs: 30 * 60_000,
};

/** Log of the largest window that compressed executables have (zstd's --long). */
export const windowLog = 27;

/** Ed25519 public keys of a text with PEM blocks. Throws GraceError (exit code 2) for what is none. */
export function readPublicKeys(pem: string): KeyObject[] {
  const blocks = pem.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? [];
  try {
    const keys = blocks.map((block) => createPublicKey(block));
    if (keys.length === 0 || keys.some((key) => key.asymmetricKeyType !== 'ed25519'))
      throw new Error('it is no Ed25519 public key');
    return keys;
  } catch (error) {
    throw new GraceError(`cannot read the public key: ${errorMessage(error)}`, {
      hint: 'a key is a text that begins with -----BEGIN PUBLIC KEY-----',
      code: 'ERR_GRACE_USAGE',
      cause: error,
    });
  }
}

/** The release of a version, or the newest one. Rejects with GraceError when there is none or its signature is not of one of the keys. */
export async function findRelease(
  { base, keys, machine }: ReleasePlace,
  wanted: string | null,
  signal: AbortSignal,
): Promise<Release> {
  const options = { limit: limits.sums, silenceMs: limits.silenceMs, totalMs: limits.totalMs, signal };
  const bring = async (name: string): Promise<Buffer> => {
    try {
      return await downloadBytes(releaseFileUrl(base, wanted, name), options);
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      const what =
        name === signatureName
          ? 'the release is not signed'
          : wanted === null
            ? 'there is no release'
            : `there is no release ${wanted}`;
      throw new GraceError(`cannot upgrade: ${what} at ${base}`, {
        hint: 'name another place with --from URL',
        cause: error,
      });
    }
  };
  const sumsFile = await bring(sumsName);
  const signature = await bring(signatureName);
  if (!keys.some((key) => verify(null, sumsFile, key, signature))) {
    throw new GraceError(`cannot upgrade from ${base}: the signature is not of a key that this grace trusts`, {
      hint: 'nothing was changed; somebody may have altered the release',
    });
  }
  const sums = parseSums(sumsFile.toString());
  const version = versionFor(sums, machine);
  if (version === null) throw new GraceError(`cannot upgrade: the release at ${base} has no executable for ${machine}`);
  if (wanted !== null && version !== wanted)
    throw new GraceError(`cannot upgrade: what is at ${base} as ${wanted} is ${version}`, {
      hint: 'nothing was changed; somebody may have altered the release',
    });
  return { version, sums };
}

/** Bring the executable of a release to `path`, which must not exist, verified. It is not yet executable. */
export async function fetchExecutable(
  { base, machine }: ReleasePlace,
  { version, sums }: Release,
  path: string,
  { signal, onBytes }: Pick<DownloadOptions, 'signal' | 'onBytes'>,
): Promise<void> {
  const name = artifactName({ version, machine, compression: 'zst' });
  const compressed = `${path}.zst`;
  await downloadFile(releaseFileUrl(base, version, name), compressed, {
    limit: limits.compressed,
    silenceMs: limits.silenceMs,
    totalMs: limits.totalMs,
    signal,
    onBytes,
  });
  const hash = createHash('sha256');
  await pipeline(createReadStream(compressed), hash);
  if (hash.digest('hex') !== sums.get(name))
    throw new GraceError(`cannot upgrade: ${name} at ${base} is damaged: its SHA-256 is not that of SHA256SUMS`, {
      hint: 'nothing was changed; try again',
    });
  try {
    await decompress(compressed, path, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof GraceError
      ? error
      : new GraceError(`cannot unpack ${name} to ${path}: ${describeError(error)}`, {
          hint: 'nothing was changed',
          cause: error,
        });
  }
  await rm(compressed);
}

async function decompress(from: string, to: string, signal: AbortSignal): Promise<void> {
  let size = 0;
  await pipeline(
    createReadStream(from),
    createZstdDecompress({ params: { [zstdWindowLogMax]: windowLog } }),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        size += chunk.length;
        if (size > limits.executable)
          throw new GraceError(`cannot upgrade: the executable is larger than ${limits.executable} bytes`);
        yield chunk;
      }
    },
    createWriteStream(to, { flags: 'wx', mode: 0o600, flush: true }),
    { signal },
  );
}

/** ZSTD_d_windowLogMax of zstd.h. */
const zstdWindowLogMax = 100;

/** Whether a text can be asked for as a version. Throws GraceError (exit code 2) otherwise; a leading v is taken off. */
export function readVersion(text: string): string {
  const version = text.replace(/^v/, '');
  if (isVersion(version)) return version;
  throw new GraceError(`"${text}" is no version: expected one like 0.1.0`, { code: 'ERR_GRACE_USAGE' });
}

/** The base address of releases. http is taken from who names it, or of this machine: what is fetched is signed. */
export function readBase(text: string, { isExplicit }: { isExplicit: boolean }): string {
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new GraceError(`cannot use "${text}" as the place of releases: expected an https address`, {
      code: 'ERR_GRACE_USAGE',
    });
  const isLoopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol === 'http:' && !isExplicit && !isLoopback)
    throw new GraceError(`cannot use ${text} as the place of releases: it is not https`, {
      hint: 'say that you want it with --from',
      code: 'ERR_GRACE_USAGE',
    });
  return text;
}
