/** The executable does without libatomic.so.1, and a Node that this is not known of is refused. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundle, makeExecutable, nodeBinary, root, targets } from '../../scripts/build.ts';
import { defineAtomics } from '../../scripts/release/atomics.ts';

const timeout = 120_000;
const executable = join(root, 'dist/grace');
const skip = process.platform !== 'linux' && 'only Linux has ELF files';

test('the executable needs nothing but the C and C++ libraries', { timeout, skip }, (t) => {
  const { error, stdout } = spawnSync('readelf', ['--wide', '--dynamic', '--dyn-syms', executable], {
    encoding: 'utf8',
    maxBuffer: 1e9,
  });
  if (error) return t.skip('readelf is not installed');
  const needs = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name!.replace(/\.so.*/, ''));
  assert.deepEqual(
    needs.filter((name) => !/^(libc|libm|libdl|libpthread|libgcc_s|libstdc\+\+|ld-linux.*)$/.test(name)),
    [],
  );
});

test('what the README says that the executable needs is what it needs', { timeout, skip }, () => {
  const text = readFileSync(executable, 'latin1');
  const newest = (prefix: string) =>
    [...new Set(text.match(new RegExp(`\\b${prefix}_\\d+(?:\\.\\d+)+(?=\\0)`, 'g')))]
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
      .at(-1);
  assert.equal(newest('GLIBC'), 'GLIBC_2.28');
  assert.equal(newest('GLIBCXX'), 'GLIBCXX_3.4.21');
  assert.equal(newest('CXXABI'), 'CXXABI_1.3.11');
});

test(
  'a Node that takes anything else from libatomic is refused, and one that takes nothing stays as it is',
  { timeout, skip: skip || (process.arch !== 'x64' && 'the places are those of x64') },
  async () => {
    const node = readFileSync((await nodeBinary(targets[0]!)).file);
    const changed = (change: (copy: Buffer) => void): Buffer => {
      const copy = Buffer.from(node);
      change(copy);
      return copy;
    };
    const rename = (from: string, to: string) => (copy: Buffer) =>
      void copy.write(to, copy.indexOf(`\0${from}\0`) + 1, 'latin1');

    const otherFunction = changed(rename('__atomic_compare_exchange', '__atomic_fetch_something'));
    assert.throws(() => defineAtomics(otherFunction), /takes __atomic_fetch_something/);
    const otherSize = changed((copy) => {
      const eight = Buffer.from('bf08000000', 'hex'); // mov $8,%edi
      for (let at = copy.indexOf(eight); at >= 0; at = copy.indexOf(eight, at + 5)) copy[at + 1] = 16;
    });
    assert.throws(
      () => defineAtomics(otherSize),
      /8 of 8 calls of __atomic_compare_exchange have another size than 8 \(0x/,
    );
    const without = changed(rename('libatomic.so.1', 'libatomic.so.2'));
    const before = Buffer.from(without);
    defineAtomics(without);
    assert.ok(without.equals(before));
  },
);

test('the executable for arm64 does without it too', { timeout, skip }, async (t) => {
  const emulator = ['qemu-aarch64', 'qemu-aarch64-static'].find((name) => !spawnSync(name, ['--version']).error);
  const libraries = '/usr/aarch64-linux-gnu';
  if (!emulator || !existsSync(`${libraries}/lib/libstdc++.so.6`))
    return t.skip('it needs qemu-user(-static), libc6-arm64-cross and libstdc++6-arm64-cross');
  const directory = mkdtempSync(join(tmpdir(), 'grace-arm64-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const target = targets.find(({ name }) => name === 'linux-arm64')!;
  try {
    await nodeBinary(target);
  } catch (error) {
    return t.skip(`Node for arm64 is not to be had: ${(error as Error).message.split('\n')[0]}`);
  }
  const [bundleFile, outfile] = [join(directory, 'grace.cjs'), join(directory, 'grace')];
  await bundle(bundleFile, { version: '9.8.7' });
  await makeExecutable({ target, bundleFile, outfile });
  const { stdout, stderr } = spawnSync(emulator, ['-L', libraries, outfile, '--version'], { encoding: 'utf8' });
  assert.match(stdout, /^grace 9\.8\.7\n.*\n.*\(linux arm64\)\n/);
  assert.equal(stderr, '');
});

test(
  'nothing is said about a code cache, on whatever processor',
  { timeout, skip: skip || (process.arch !== 'x64' && 'for x64') },
  (t) => {
    assert.equal(spawnSync(executable, ['--version'], { encoding: 'utf8' }).stderr, '');
    const emulator = 'qemu-x86_64-static';
    if (spawnSync(emulator, ['--version']).error) return t.skip('qemu-user-static is not installed');
    const { stdout, stderr } = spawnSync(emulator, ['-cpu', 'Nehalem', executable, '--version'], { encoding: 'utf8' });
    assert.match(stdout, /^grace /);
    assert.equal(stderr, '');
  },
);
