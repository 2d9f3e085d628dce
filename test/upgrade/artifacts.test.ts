import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compareVersions,
  isVersion,
  machineName,
  parseSums,
  releaseFileUrl,
  versionFor,
} from '../../src/upgrade/artifacts.ts';

test('versions are in the order of semver.org', () => {
  const order = [
    '0.1.0-alpha',
    '0.1.0-alpha.1',
    '0.1.0-alpha.beta',
    '0.1.0-beta.2',
    '0.1.0-beta.11',
    '0.1.0-rc.1',
    '0.1.0',
    '0.1.1',
    '0.2.0',
    '0.10.0',
    '1.0.0',
  ];
  for (const [index, version] of order.entries()) {
    assert.ok(isVersion(version));
    for (const [other, each] of order.entries())
      assert.equal(Math.sign(compareVersions(version, each)), Math.sign(index - other), `${version} ${each}`);
  }
});

test('what is no version is told from one', () => {
  for (const text of [
    '',
    '1',
    '1.0',
    'v1.0.0',
    '1.0.0-',
    '1.0.0/..',
    '1.0.0-a/b',
    '../1.0.0',
    '1.0.0 ',
    `1.0.0-${'x'.repeat(61)}`,
  ])
    assert.equal(isVersion(text), false, text);
});

test('SHA256SUMS says which version there is for a kind of machine', () => {
  const sum = 'a'.repeat(64);
  const sums = parseSums(
    `${sum}  grace-1.2.3-rc.1-linux-x64.zst\n${sum}  grace-1.2.3-rc.1-macos-arm64.gz\n${sum} *install.sh\nnonsense\n`,
  );
  assert.equal(sums.get('install.sh'), sum);
  assert.equal(sums.size, 3);
  assert.equal(versionFor(sums, 'linux-x64'), '1.2.3-rc.1');
  assert.equal(versionFor(sums, 'macos-arm64'), null);
  assert.equal(versionFor(parseSums(`${sum}  grace-../../x-linux-x64.zst\n`), 'linux-x64'), null);
  assert.equal(machineName('darwin', 'arm64'), 'macos-arm64');
});

test('addresses of files do not leave the place of releases', () => {
  assert.equal(
    releaseFileUrl('https://example.com/grace/', null, 'SHA256SUMS').href,
    'https://example.com/grace/latest/download/SHA256SUMS',
  );
  assert.equal(
    releaseFileUrl('https://example.com/grace', '1.0.0', 'a b').href,
    'https://example.com/grace/download/v1.0.0/a%20b',
  );
});
