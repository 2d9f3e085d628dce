/**
 * `npm run release`: executables for every target, compressed, with man page, completions, install.sh,
 * the library's package,
 * SHA256SUMS and its signature, as a directory to be served (`dist/release`, see src/upgrade/artifacts.ts).
 *
 *     GRACE_SIGNING_KEY   Ed25519 private key, PEM or the name of its file; without it nothing is signed
 *     GRACE_PUBLIC_KEYS   more public keys to trust (PEM or a file), for a change of keys
 *     GRACE_RELEASE_URL   where the release will be found; written into install.sh and the executables
 *
 *     --target NAME       only this one, may be repeated: linux-x64, linux-arm64, macos-x64, macos-arm64
 *     --outdir DIR        instead of dist/release
 *     --smoke             then run the arm64 executable under qemu: forward, switch, restart
 */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import manifest from '../package.json' with { type: 'json' };
import { buildLibrary, bundle, makeExecutable, nodeBinary, root, targets, writeContents } from './build.ts';
import { libraryArchiveName, packLibrary } from './release/library.ts';
import { packRelease } from './release/pack.ts';
import { readSigningKey } from './release/sign.ts';
import { smokeTest } from './release/smoke.ts';

const { values } = parseArgs({
  options: { target: { type: 'string', multiple: true }, outdir: { type: 'string' }, smoke: { type: 'boolean' } },
});
const { GRACE_SIGNING_KEY, GRACE_PUBLIC_KEYS, GRACE_RELEASE_URL } = process.env;
const names = values.target ?? targets.map(({ name }) => name);
const unknown = names.find((name) => !targets.some((target) => target.name === name));
if (unknown !== undefined)
  throw new Error(`there is no target ${unknown}; there are ${targets.map(({ name }) => name).join(', ')}`);

const { version } = manifest;
const key = GRACE_SIGNING_KEY ? readSigningKey(GRACE_SIGNING_KEY) : null;
const moreKeys = GRACE_PUBLIC_KEYS
  ? GRACE_PUBLIC_KEYS.includes('-----BEGIN')
    ? GRACE_PUBLIC_KEYS
    : await readFile(GRACE_PUBLIC_KEYS, 'utf8')
  : '';
const publicKeys = `${key?.publicPem ?? ''}${moreKeys}`;
const dist = join(root, 'dist');
const outdir = resolve(values.outdir ?? join(dist, 'release'));
await mkdir(outdir, { recursive: true });

const bundleFile = join(outdir, 'grace.cjs');
const inputs = await bundle(bundleFile, {
  ...(publicKeys === '' ? {} : { publicKeys }),
  ...(GRACE_RELEASE_URL ? { releaseUrl: GRACE_RELEASE_URL } : {}),
});
const executables = new Map<string, string>();
for (const target of targets.filter(({ name }) => names.includes(name))) {
  const outfile = join(values.outdir ? outdir : dist, `grace-${target.name}`);
  await makeExecutable({ target, bundleFile, outfile });
  executables.set(target.name, outfile);
  const [before, after] = await Promise.all([stat((await nodeBinary(target)).file), stat(outfile)]);
  console.log(`${outfile}: ${megabytes(after.size)} (Node alone is ${megabytes(before.size)})`);
}
await buildLibrary();
const extras = new Map([
  [libraryArchiveName(version), await packLibrary(join(root, 'dist/npm'))],
  ...(await writeContents(dist, inputs)),
]);
console.log('compressing, which takes a minute or two');
const sizes = await packRelease({
  root,
  version,
  executables,
  outdir,
  key,
  releaseUrl: GRACE_RELEASE_URL ?? null,
  extras,
  hasPackages: true,
});
for (const [name, size] of sizes) console.log(`${name}: ${size < 1e6 ? `${size} bytes` : megabytes(size)}`);
console.log(`\ngrace ${version} is in ${outdir}, to be served as it is`);
for (const [ending, tool] of [
  ['.deb', 'dpkg-deb'],
  ['.rpm', 'rpmbuild (of the package rpm)'],
] as const) {
  if (![...sizes.keys()].some((name) => name.endsWith(ending)))
    console.log(`There is no ${ending}: ${tool} is not installed, or nothing was built for Linux.`);
}
if (!key)
  console.log(
    'It is NOT signed (GRACE_SIGNING_KEY is not set): install.sh checks sums alone, and grace upgrade will not take it.',
  );
if (executables.has('macos-arm64'))
  console.log(
    'The macOS executables have an ad hoc signature. To pass Gatekeeper, sign them with a Developer ID and notarize them on a Mac.',
  );
if (values.smoke) await smokeTest(executables);

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
