/** The recipes as their readers run them: the blocks of a section of the page, one after the other, in a shell. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { program, root } from '../e2e/grace.ts';

/** Where the page and its files are. */
export const directory = join(root, 'scripts/recipes');

/** The `sh` blocks of a section. */
export function blocksOf(title: string): string[] {
  const page = readFileSync(join(directory, 'README.md'), 'utf8');
  const section = page.split(/^## /m).find((each) => each.startsWith(`${title}\n`));
  if (section === undefined) throw new Error(`the page has no section ${title}`);
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
}

export type Shell = {
  /** Run commands to their end, with what earlier ones have set. Rejects when one of them fails. Returns what they print. */
  run(script: string): Promise<string>;
  /** Run one that may fail. */
  attempt(script: string): Promise<{ code: number; stdout: string }>;
};

export type ShellOptions = {
  env: NodeJS.ProcessEnv;
  /** What runs the shell: `setpriv …`. */
  by?: readonly string[];
  cwd?: string;
};

/** A shell, with a process group of its own which goes with the test. */
export function openShell(t: TestContext, { env, by = [], cwd = directory }: ShellOptions): Shell {
  const [file, ...args] = [...by, 'bash', '-u', '-s'];
  const child = spawn(file!, args, {
    cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, NO_COLOR: '1', ...env },
  });
  let stdout = '';
  let stderr = '';
  let wake = () => {};
  let hasEnded = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exited = once(child, 'exit').then(() => {
    hasEnded = true;
    wake();
  });
  t.after(async () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // All of it has ended.
    }
    await exited;
  });
  let count = 0;
  const run = async (script: string) => {
    const mark = `<end of ${++count}>`;
    stdout = '';
    child.stdin.write(`set -e\n{\n${script}\n} </dev/null\necho "${mark}"\n`);
    for (;;) {
      const end = new RegExp(`^${mark}\n`, 'm').exec(stdout);
      if (end) return stdout.slice(0, end.index);
      if (hasEnded)
        throw new Error(
          `the shell has ended with ${child.exitCode ?? child.signalCode}: ${script}\n${stdout}${stderr}`,
        );
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return {
    run,
    async attempt(script) {
      const outcome = await run(`set +e\n${script}\necho "code $?"; set -e`);
      const [, stdout = '', code] = /^(.*)code ([0-9]+)\n$/s.exec(outcome) ?? [];
      return { code: Number(code), stdout };
    },
  };
}

/**
 * A directory that every user may enter, with `bin/grace`, a place for state which belongs to `uid`, and the environment
 * of whoever uses them. What runs there is stopped after the test.
 */
export function makePlace(
  t: TestContext,
  { uid = process.getuid!() }: { uid?: number } = {},
): { path: string; home: string; grace: string; env: NodeJS.ProcessEnv & { GRACE_DIR: string } } {
  const path = mkdtempSync(join(tmpdir(), 'grace-recipe-'));
  chmodSync(path, 0o755);
  const grace = join(path, 'bin/grace');
  mkdirSync(join(path, 'bin'));
  copyFileSync(program[0], grace);
  chmodSync(grace, 0o755);
  const home = join(path, 'home');
  mkdirSync(home);
  if (uid !== process.getuid!()) chownSync(home, uid, uid);
  const env = { HOME: home, GRACE_DIR: join(home, 'state'), PATH: `${path}/bin:${process.env['PATH']}` };
  t.after(async () => {
    await once(spawn(program[0], ['-d', env.GRACE_DIR, 'stop', '--now'], { stdio: 'ignore' }), 'exit');
    rmSync(path, { recursive: true, force: true });
  });
  return { path, home, grace, env };
}
