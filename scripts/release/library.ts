/** The library as a package of its own: the repository's package.json is for those who build grace. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import manifest from '../../package.json' with { type: 'json' };

const run = promisify(execFile);

/** Under which the library is published: `grace` is somebody else's on npm. src/http/README.md names it too. */
export const libraryName = '@grace-forwarder/grace';

/** File name of the library in a release. */
export function libraryArchiveName(version: string): string {
  return `grace-library-${version}.tgz`;
}

/**
 * Write `dist/npm`, a directory for `npm publish`, from `dist/lib`. It depends on nothing and installs nothing else.
 * `GRACE_REPOSITORY_URL` is where the sources are; without it the manifest does not say.
 */
export async function stageLibrary(root: string): Promise<string> {
  const out = join(root, 'dist/npm');
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await cp(join(root, 'dist/lib'), join(out, 'lib'), { recursive: true });
  for (const file of ['CHANGELOG.md', 'LICENSE']) await cp(join(root, file), join(out, file));
  await cp(join(root, 'src/http/examples'), join(out, 'lib/http/examples'), { recursive: true });
  for (const [page, place] of pages)
    await writeFile(join(out, place), withLinksOf(await readFile(join(root, page), 'utf8'), page, place));
  const { version, license, type, engines, keywords } = manifest;
  const { GRACE_REPOSITORY_URL: url } = process.env;
  const published = {
    name: libraryName,
    version,
    description:
      'Stop and restart servers of node:http, https, http2, net and tls without refusing or failing a request: sockets are inherited, requests are finished.',
    keywords,
    license,
    ...(url && {
      repository: { type: 'git', url },
      homepage: url,
      bugs: { url: `${url.replace(/\.git$/, '')}/issues` },
    }),
    type,
    engines,
    os: ['linux', 'darwin'],
    exports: {
      './http': { types: './lib/http/index.d.ts', default: './lib/http/index.js' },
      './net': { types: './lib/net/index.d.ts', default: './lib/net/index.js' },
      './package.json': './package.json',
    },
    files: ['lib', 'CHANGELOG.md'],
    publishConfig: { access: 'public' },
  };
  await writeFile(join(out, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
  return out;
}

/** Pages that come along, with their places in the package. The first one is what its reader sees first. */
const pages = new Map([
  ['src/http/README.md', 'README.md'],
  ['src/net/README.md', 'lib/net/README.md'],
]);

/** A page with its links as they are at its place in the package. Of one to what does not come along the words are left. */
function withLinksOf(text: string, page: string, place: string): string {
  return text.replace(/\[([^\]]*)\]\(([^()\s#]+)(#[^()\s]*)?\)/g, (link, words: string, path: string, anchor = '') => {
    if (/^[a-z]+:/.test(path)) return link;
    const target = posix.join(posix.dirname(page), path);
    const inside =
      pages.get(target) ?? (target.startsWith('src/http/examples/') ? target.replace('src/', 'lib/') : undefined);
    return inside === undefined ? words : `[${words}](${posix.relative(posix.dirname(place), inside)}${anchor})`;
  });
}

/** The archive of a staged library, the same bytes wherever it is made: npm's compression is that of the Node it runs on. */
export async function packLibrary(staged: string): Promise<Buffer> {
  const work = await mkdtemp(join(tmpdir(), 'grace-pack-'));
  try {
    const { stdout } = await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', work], {
      cwd: staged,
    });
    const tar = await promisify(gunzip)(await readFile(join(work, stdout.trim().split('\n').at(-1)!)));
    return await promisify(gzip)(tar, { level: 9 });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
