import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import manifest from '../../package.json' with { type: 'json' };
import { libraryArchiveName, libraryName, packLibrary } from '../../scripts/release/library.ts';
import { linksOf, pages, readPage } from '../docs/page.ts';
import { makeTempDir } from '../net/temp-dir.ts';

const run = promisify(execFile);
const options = { timeout: 60_000 };
const root = fileURLToPath(new URL('../..', import.meta.url));
const deno = path.join(root, 'node_modules/.bin/deno');

const program = `
import { GraceError, serve } from 'grace/http';
import { Net } from 'grace/net';
const error = await serve(undefined).catch((reason) => reason);
console.log(error instanceof GraceError, error.code, typeof Net);
`;
const said = 'true ERR_GRACE_ARGUMENT function\n';

/** npm's registry with nothing but the library in it. */
async function serveRegistry(archive: Buffer): Promise<Disposable & { url: string }> {
  const staged = JSON.parse(fs.readFileSync(path.join(root, 'dist/npm/package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
  const server = http.createServer((request, response) => {
    const asked = decodeURIComponent(request.url ?? '');
    if (asked === `/${libraryName}`) {
      const { version } = staged;
      const about = {
        name: libraryName,
        'dist-tags': { latest: version },
        versions: { [version]: { ...staged, dist: { tarball: `${url}/library.tgz` } } },
      };
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify(about));
    } else if (asked === '/library.tgz') response.end(archive);
    else response.writeHead(404).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, [Symbol.dispose]: () => server.close() };
}

test('the library is published under a name of its own, says what it needs, and brings nothing along', async () => {
  const published = JSON.parse(fs.readFileSync(path.join(root, 'dist/npm/package.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  assert.equal(published['name'], libraryName);
  assert.equal(published['version'], manifest.version);
  assert.deepEqual(published['engines'], { node: '>=26', deno: '>=2.9' });
  assert.deepEqual(manifest.engines, published['engines']);
  for (const name of ['dependencies', 'devDependencies', 'optionalDependencies', 'scripts', 'bin', 'private'])
    assert.equal(published[name], undefined, name);
  assert.ok(Array.isArray(published['keywords']) && published['keywords'].includes('restart'));
  const manual = readPage('src/http/README.md');
  assert.ok(manual.includes(`npm install grace@npm:${libraryName}\n`));
  assert.ok(manual.includes(libraryArchiveName('VERSION')));
  assert.ok(readPage('README.md').includes(`npm install grace@npm:${libraryName}\n`));
});

test('the pages that come along are those of the library, and their links lead to what comes along', () => {
  const staged = path.join(root, 'dist/npm');
  assert.deepEqual(pages(staged), ['CHANGELOG.md', 'README.md', 'lib/net/README.md']);
  assert.match(readPage('README.md', staged), /^# grace\/http/);
  for (const page of pages(staged)) {
    const targets = linksOf(readPage(page, staged)).filter((target) => !target.startsWith('#'));
    assert.deepEqual(
      targets.filter((target) => !fs.existsSync(path.join(staged, path.dirname(page), target.split('#')[0]!))),
      [],
      page,
    );
  }
});

test('as an alias from the registry, and from the archive, it is imported as grace', options, async () => {
  using temp = makeTempDir();
  const archive = await packLibrary(path.join(root, 'dist/npm'));
  assert.deepEqual(await packLibrary(path.join(root, 'dist/npm')), archive);
  fs.writeFileSync(temp.file(libraryArchiveName('1')), archive);
  using registry = await serveRegistry(archive);
  const env = {
    ...process.env,
    npm_config_registry: registry.url,
    npm_config_cache: temp.file('cache'),
    npm_config_update_notifier: 'false',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
  };
  for (const what of [`grace@npm:${libraryName}`, `grace@file:${temp.file(libraryArchiveName('1'))}`]) {
    const directory = temp.file(what.includes('npm:') ? 'registry' : 'archive');
    fs.mkdirSync(directory);
    fs.writeFileSync(path.join(directory, 'package.json'), '{"type":"module"}');
    fs.writeFileSync(path.join(directory, 'program.js'), program);
    await run('npm', ['install', what], { cwd: directory, env });
    assert.deepEqual(
      fs.readdirSync(path.join(directory, 'node_modules')).filter((name) => !name.startsWith('.')),
      ['grace'],
    );
    assert.deepEqual(fs.readdirSync(path.join(directory, 'node_modules/grace')).sort(), [
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'lib',
      'package.json',
    ]);
    assert.equal((await run(process.execPath, ['program.js'], { cwd: directory })).stdout, said);
  }
});

test('deno add takes it under the same name', options, async () => {
  using temp = makeTempDir();
  using registry = await serveRegistry(await packLibrary(path.join(root, 'dist/npm')));
  const directory = temp.file('program');
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'deno.json'), '{}');
  fs.writeFileSync(path.join(directory, 'program.js'), program);
  const env = {
    ...process.env,
    NPM_CONFIG_REGISTRY: registry.url,
    DENO_DIR: temp.file('cache'),
    DENO_NO_UPDATE_CHECK: '1',
  };
  await run(deno, ['add', `grace@npm:${libraryName}`], { cwd: directory, env });
  assert.equal((await run(deno, ['run', '-A', 'program.js'], { cwd: directory, env })).stdout, said);
});
