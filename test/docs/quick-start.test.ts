/** The quick start of README as somebody pastes it: line by line, on a machine of its own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { runtime, startProgram } from '../e2e/grace.ts';
import { makePlace, openShell } from '../recipes/recipe.ts';
import { pages, readPage, sectionOf, stepsOf } from './page.ts';

/** Its ports are those of the page, so they must not be anybody else's: in a network of its own. */
const alone = ['unshare', '-rn', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];

function whyNot(): string | false {
  if (runtime !== 'executable' || process.platform !== 'linux') return 'the built executable on Linux';
  if (spawnSync(alone[0]!, [...alone.slice(1), 'true']).status !== 0)
    return 'it needs a network of its own, and iproute2';
  return ['curl', 'openssl'].find((name) => spawnSync(name, ['--help']).error) ?? false;
}

/** Pids and versions are others each time. */
const plain = (text: string) => text.replace(/pid [0-9]+ \([^)]*\)/g, 'pid PID (VERSION)');

/** A machine that is busy takes longer over the start of a process than the 10 s that a restart has. */
const patient = (command: string) => command.replace(/^grace restart$/, '$& --timeout 100s');

/** What the next line takes for granted, and a person's typing gives time for. */
function settle(command: string): string {
  const waits = [...command.matchAll(/listen\(([0-9]+)\)/g)].map(
    ([, port]) => `until (exec 4<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; do sleep 0.05; done`,
  );
  // The daemon has the client, which a connection in the kernel's queue does not yet say.
  if (command.startsWith('exec 3<>'))
    waits.push('until grace ls --json | grep -q \'"connections":1\'; do sleep 0.05; done');
  return waits.join('\n');
}

test('the quick start of README does what it shows', { timeout: 180_000, skip: whyNot() }, async (t) => {
  const { env, path } = makePlace(t);
  const shell = openShell(t, { env, by: alone, cwd: path });
  const steps = stepsOf(sectionOf(readPage('README.md'), 'Quick start'));
  assert.ok(steps.length > 20, `${steps.length} steps`);
  for (const { command, output } of steps) {
    const isRefused = output.startsWith('grace: ');
    const isQuiet = command.startsWith('openssl'); // its dots are its own
    const script = `{ ${patient(command.replace(/\s+# .*$/, '').trimEnd())}\n} 2>${isRefused ? '&1' : isQuiet ? '/dev/null' : '&2'}`;
    const said = isRefused ? (await shell.attempt(script)).stdout : await shell.run(script);
    assert.equal(plain(said), plain(output), command);
    await shell.run(settle(command) || ':');
  }
});

test('what pages show of grace endpoint is what it says', { timeout: 60_000 }, async () => {
  const shown = pages().flatMap((page) =>
    stepsOf(readPage(page)).filter(({ command }) => command.startsWith('grace endpoint ')),
  );
  assert.ok(shown.length >= 2, `${shown.length} samples`);
  for (const { command, output } of shown) {
    const { stdout, stderr } = await startProgram(command.split(' ').slice(1)).ended;
    assert.equal(stdout + stderr, output, command);
  }
});
