import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Invocation } from '../../src/net/invocation.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { timeout: 60_000 };
const source = fileURLToPath(new URL('../../src/net/invocation.ts', import.meta.url));
const isDeno = 'Deno' in globalThis;
const run = isDeno ? ['run', '-A'] : [];

/** A directory with a program that prints its invocation, in `releases/1`, and a link `current` to that. */
function deploy(temp: { file(name: string): string }): void {
  fs.mkdirSync(temp.file('releases/1'), { recursive: true });
  const program = `import { originalInvocation } from ${JSON.stringify(source)};\nconsole.log(JSON.stringify(originalInvocation()));\n`;
  fs.writeFileSync(temp.file('releases/1/program.mjs'), program);
  fs.symlinkSync('releases/1', temp.file('current'));
}

async function invoke(
  file: string,
  args: string[],
  { cwd, env = {} }: { cwd: string; env?: Record<string, string> },
): Promise<Invocation> {
  const { stdout } = await promisify(execFile)(file, args, { cwd, env: { ...process.env, PWD: cwd, ...env } });
  return JSON.parse(stdout) as Invocation;
}

test('a script is started by its path, with the links in it', options, async () => {
  using temp = makeTempDir();
  deploy(temp);
  const script = temp.file('current/program.mjs');
  const { file, args, cwd } = await invoke(process.execPath, [...run, script, 'own'], { cwd: temp.path });
  assert.equal(fs.realpathSync(file), fs.realpathSync(process.execPath));
  assert.deepEqual(args, [...run, script]);
  assert.equal(cwd, temp.path);
});

test("a relative script is started by the directory's name, not by what a link in it leads to", options, async () => {
  using temp = makeTempDir();
  deploy(temp);
  const { args, cwd } = await invoke(process.execPath, [...run, 'program.mjs'], { cwd: temp.file('current') });
  assert.equal(cwd, temp.file('current'));
  assert.equal(args.at(-1), temp.file('current/program.mjs'));
});

test('a PWD that is not the directory is not believed', options, async () => {
  using temp = makeTempDir();
  deploy(temp);
  const { cwd } = await invoke(process.execPath, [...run, temp.file('current/program.mjs')], {
    cwd: temp.file('releases'),
    env: { PWD: temp.path },
  });
  assert.equal(cwd, fs.realpathSync(temp.file('releases')));
});

test('a program that changes its directory is started again in the one that it had', options, async () => {
  using temp = makeTempDir();
  deploy(temp);
  const program = temp.file('current/program.mjs');
  fs.appendFileSync(program, 'process.chdir("..");\nconsole.log(JSON.stringify(originalInvocation()));\n');
  const { stdout } = await promisify(execFile)(process.execPath, [...run, 'program.mjs'], {
    cwd: temp.file('current'),
    env: { ...process.env, PWD: temp.file('current') },
  });
  const [before, after] = stdout.trim().split('\n');
  assert.equal(after, before);
  assert.equal((JSON.parse(after!) as Invocation).cwd, temp.file('current'));
});

test('the options of the runtime are kept', { ...options, skip: isDeno && 'Deno does not tell them' }, async () => {
  using temp = makeTempDir();
  deploy(temp);
  const script = temp.file('current/program.mjs');
  const { args } = await invoke(process.execPath, ['--no-warnings', script], { cwd: temp.path });
  assert.deepEqual(args, ['--no-warnings', script]);
});

test(
  'a runtime that was called by a link is called by it again, found on PATH if it has no slash',
  options,
  async () => {
    using temp = makeTempDir();
    deploy(temp);
    const link = temp.file('runtime');
    fs.symlinkSync(process.execPath, link);
    const script = temp.file('current/program.mjs');
    assert.equal((await invoke(link, [...run, script], { cwd: temp.path })).file, link);
    assert.equal((await invoke('./runtime', [...run, script], { cwd: temp.path })).file, link);
    const PATH = `/nonexistent:${temp.path}:${path.dirname(process.execPath)}`;
    assert.equal((await invoke('runtime', [...run, script], { cwd: temp.path, env: { PATH } })).file, link);
  },
);
