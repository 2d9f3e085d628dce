import fs from 'node:fs';
import path from 'node:path';
import type { Environment } from './inherit.ts';

/** How a program is started: the file, the arguments that come before the program's own, and where. */
export type Invocation = {
  /** Absolute. Symbolic links are not resolved, so that one moved meanwhile leads to the new version. */
  file: string;
  /** What makes the runtime run the program: options and the script; empty for an executable made of both. */
  args: string[];
  /** The directory it was started in, by the name that the shell had for it. */
  cwd: string;
};

/**
 * The working directory when the library was loaded, which is before the program's own first statement: it may change it,
 * and its successor will do the same from there. Null where it had been removed.
 */
const startDirectory = workingDirectory();

function workingDirectory(): string | null {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}

/**
 * How this very program was started, to start it again.
 *
 * - An executable (Node SEA, `deno compile`): the path as it was typed, found on PATH if it was a bare name.
 * - Node: the runtime found in the same way, its options, the script.
 * - Deno: `run -A` and the script; Deno does not tell which options it was given.
 */
export function originalInvocation(env: Environment = process.env): Invocation {
  const cwd = logicalDirectory(env);
  return { file: findProgram(cwd, env), args: runtimeArguments(cwd), cwd };
}

/** The program's own arguments. An executable's argv has the name as typed where a script's has the script. */
export function ownArguments(): string[] {
  return process.argv.slice(2);
}

function runtimeArguments(cwd: string): string[] {
  if (isExecutable()) return [];
  const script = process.argv[1];
  const scripts = script === undefined ? [] : [logicalPath(script, cwd)];
  return 'Deno' in globalThis ? ['run', '-A', ...scripts] : [...process.execArgv, ...scripts];
}

/** Whether runtime and program are one file. */
export function isExecutable(): boolean {
  if ('Deno' in globalThis) {
    const { build } = Reflect.get(globalThis, 'Deno') as { build: { standalone?: boolean } };
    return build.standalone === true;
  }
  return process.getBuiltinModule('node:sea').isSea();
}

/** PWD if it is the directory that it was started in: the shell keeps the symbolic links that getcwd(3) resolves. */
function logicalDirectory(env: Environment): string {
  const { PWD } = env;
  // It was removed: by its name a new one may appear in its place.
  if (startDirectory === null) return PWD ?? '/';
  return PWD !== undefined && path.isAbsolute(PWD) && realPath(PWD) === startDirectory ? PWD : startDirectory;
}

function realPath(file: string): string | null {
  try {
    return fs.realpathSync(file);
  } catch {
    return null; // not there, or not ours to see
  }
}

/** The runtimes make a script's path absolute with the physical directory; put the logical one back. */
function logicalPath(file: string, cwd: string): string {
  if (startDirectory === null) return file;
  const relative = path.relative(startDirectory, file);
  return relative.startsWith('..') || path.isAbsolute(relative) ? file : path.join(cwd, relative);
}

/** Linux puts it behind the name of a file that has been removed or replaced since it was executed (proc(5), /proc/PID/exe). */
const deletedMark = / \(deleted\)$/;

function findProgram(cwd: string, env: Environment): string {
  const typed = process.argv0;
  const candidates = typed.includes('/')
    ? [path.resolve(cwd, typed)]
    : (env['PATH'] ?? '').split(':').map((directory) => path.resolve(cwd, directory, typed));
  // argv[0] is whatever the caller liked to pass; believe it only if it leads to what runs.
  return (
    candidates.find((candidate) => isSameFile(candidate, process.execPath)) ?? process.execPath.replace(deletedMark, '')
  );
}

function isSameFile(a: string, b: string): boolean {
  try {
    const [first, second] = [fs.statSync(a), fs.statSync(b)];
    return first.dev === second.dev && first.ino === second.ino;
  } catch {
    // Not there, or not ours to see.
    return false;
  }
}
