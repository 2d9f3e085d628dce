/** Makes a release of executables: the layout that src/upgrade/artifacts.ts describes. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, gzip, zstdCompress } from 'node:zlib';
import { bashCompletion } from '../../src/cli/completion/bash.ts';
import { fishCompletion } from '../../src/cli/completion/fish.ts';
import { zshCompletion } from '../../src/cli/completion/zsh.ts';
import { manualPage } from '../../src/cli/man-page.ts';
import { defaultPaths, unitFiles, unitText } from '../../src/cli/unit-files.ts';
import { unitKinds } from '../../src/control/commands/program.ts';
import { artifactName, signatureName, sumsName } from '../../src/upgrade/artifacts.ts';
import { windowLog } from '../../src/upgrade/release.ts';
import { makePackages } from './packages.ts';
import { signBytes } from './sign.ts';
import type { SigningKey } from './sign.ts';

export type Packing = {
  root: string;
  version: string;
  /** File by kind of machine, `linux-x64`. */
  executables: ReadonlyMap<string, string>;
  outdir: string;
  /** Null for a release that is not signed, which `grace upgrade` does not take. */
  key: SigningKey | null;
  /** Written into install.sh; null leaves it to be named. */
  releaseUrl: string | null;
  /** More files for the release, by name: the library. */
  extras?: ReadonlyMap<string, Buffer>;
  /** Whether packages for dpkg and rpm are made of it too, where their tools are installed. */
  hasPackages?: boolean;
  /** Of zstd, 1 to 22; gzip's follows. */
  level?: number;
};

/** Write a release and make it the newest one in `outdir`. Returns the sizes of its files by name. */
export async function packRelease({
  root,
  version,
  executables,
  outdir,
  key,
  releaseUrl,
  extras = new Map(),
  hasPackages = false,
  level = 19,
}: Packing): Promise<Map<string, number>> {
  const directory = join(outdir, `download/v${version}`);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const files = new Map<string, Buffer>(extras);
  for (const [machine, file] of executables) {
    const [zst, gz] = await compress(await readFile(file), level);
    files.set(artifactName({ version, machine, compression: 'zst' }), zst);
    files.set(artifactName({ version, machine, compression: 'gz' }), gz);
  }
  for (const [machine, executable] of hasPackages ? executables : []) {
    for (const name of await makePackages({ root, version, machine, executable, outdir: directory, isSmall: true }))
      files.set(name, await readFile(join(directory, name)));
  }
  files.set('Dockerfile', await readFile(join(root, 'scripts/release/Dockerfile')));
  const installer = stampInstaller(await readFile(join(root, 'scripts/install.sh'), 'utf8'), {
    releaseUrl,
    publicPem: key?.publicPem ?? null,
  });
  const texts = {
    'grace.1': manualPage(version),
    'grace.bash': bashCompletion(),
    _grace: zshCompletion(),
    'grace.fish': fishCompletion(),
    'install.sh': installer,
  };
  for (const [name, text] of Object.entries(texts)) files.set(name, Buffer.from(text));
  for (const kind of unitKinds)
    files.set(unitFiles[kind].replace('runit/run', 'grace.runit'), Buffer.from(unitText(kind, defaultPaths)));
  const sums = Buffer.from(
    [...files]
      .map(([name, bytes]) => `${createHash('sha256').update(bytes).digest('hex')}  ${name}\n`)
      .sort(byName)
      .join(''),
  );
  files.set(sumsName, sums);
  if (key) files.set(signatureName, signBytes(sums, key));
  for (const [name, bytes] of files)
    await writeFile(join(directory, name), bytes, { mode: name.endsWith('.sh') ? 0o755 : 0o644 });

  await writeFile(join(outdir, 'install.sh'), installer, { mode: 0o755 });
  await mkdir(join(outdir, 'latest'), { recursive: true });
  await rm(join(outdir, 'latest/download'), { recursive: true, force: true });
  await symlink(`../download/v${version}`, join(outdir, 'latest/download'));
  return new Map([...files].map(([name, bytes]) => [name, bytes.length]));
}

/** Both compressions are Node's own, so that the same Node makes the same bytes anywhere. */
function compress(bytes: Buffer, level: number): Promise<[zst: Buffer, gz: Buffer]> {
  const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_windowLog]: windowLog };
  return Promise.all([
    promisify(zstdCompress)(bytes, { params, pledgedSrcSize: bytes.length }),
    promisify(gzip)(bytes, { level: Math.min(level, 9) }),
  ]);
}

/** Fill in what install.sh has to know about where it comes from. */
function stampInstaller(
  text: string,
  { releaseUrl, publicPem }: { releaseUrl: string | null; publicPem: string | null },
): string {
  const fill = (script: string, name: string, value: string): string => {
    const empty = `\n${name}=''\n`;
    if (!script.includes(empty)) throw new Error(`install.sh has no line ${empty.trim()}`);
    if (value.includes("'")) throw new Error(`${name} must not hold a quote: ${value}`);
    return script.replace(empty, () => `\n${name}='${value}'\n`);
  };
  return fill(fill(text, 'default_url', releaseUrl ?? ''), 'public_key', publicPem?.trim() ?? '');
}

function byName(a: string, b: string): number {
  const [left, right] = [a.slice(66), b.slice(66)];
  return left < right ? -1 : left > right ? 1 : 0;
}
