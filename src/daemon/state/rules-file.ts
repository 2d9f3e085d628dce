import { closeSync, copyFileSync, fsyncSync, openSync, renameSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { endpointText } from '../../control/shapes.ts';
import type { EndpointText } from '../../control/shapes.ts';
import { GraceError, errorCode, errorMessage } from '../../error.ts';
import { bounded } from '../../one-line.ts';
import { NotAFileError, readRegularFile } from '../../sys/regular-file.ts';
import { describeError } from '../../sys/system-error.ts';

/** A rule as it is stored: its endpoints, and where it listened last (`port 0` keeps the port it got). */
export type StoredRule = {
  src: EndpointText;
  dst: EndpointText;
  share?: StoredShare | undefined;
  port?: number | undefined;
};

/** Schema of a {@link StoredShare}. */
export const shareSchema = v.object({
  dst: endpointText,
  percent: v.pipe(v.number(), v.minValue(0), v.maxValue(100)),
  secret: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
});

/** Where a share of the clients of a rule goes, how much it is, and what decides which. */
export type StoredShare = v.InferOutput<typeof shareSchema>;

/** Of the file; a version that cannot read one says so and leaves it alone. */
const stateFormat = 1;

/** Schema of a {@link StoredRule}. */
export const ruleSchema = v.object({
  src: endpointText,
  dst: endpointText,
  share: v.optional(shareSchema),
  port: v.optional(v.number()),
});
const stateSchema = v.object({ format: v.optional(v.unknown()), rules: v.array(v.unknown()) });

/** The stored rules. */
export type LoadedState = {
  rules: StoredRule[];
  /** What the user must be told, if anything. */ note: string | null;
  /** The file has more in it, which is kept elsewhere: write it anew. */ isPart?: true;
  /** There is no file. */ isMissing?: true;
};

/**
 * Read the stored rules. A file of which not all can be understood is kept under another name, which the
 * note says, so that nothing overwrites it; the rules in it that can are read. Throws GraceError when
 * it cannot be read at all, or is of another version.
 */
export function loadState(path: string): LoadedState {
  let text: string;
  try {
    text = readRegularFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { rules: [], note: null, isMissing: true };
    // In a directory somebody may have put the file; whatever else it is, nothing can be in it.
    if (error instanceof NotAFileError && !error.isDirectory) return noneOf(path, error);
    throw new GraceError(`cannot read the rules in ${path}: ${describeError(error)}`, { cause: error });
  }
  try {
    const state: unknown = parse(text);
    mustBeReadable(path, state);
    const { format, rules } = v.parse(stateSchema, state);
    return readRules(path, rules, format === stateFormat ? [] : ['its format is not said']);
  } catch (error) {
    if (error instanceof GraceError) throw error;
    return noneOf(path, error);
  }
}

function noneOf(path: string, error: unknown): LoadedState {
  const aside = setAside(path);
  return {
    rules: [],
    note: `${path} is damaged (${errorMessage(error)}); it is kept as ${aside}, and no rule of it is served`,
  };
}

/** One rule that an editor has spoilt must not take the others with it, nor what is wrong with the rest of the file. */
function readRules(path: string, all: readonly unknown[], problems: readonly string[]): LoadedState {
  const rules: StoredRule[] = [];
  const bad: { index: number; rule: unknown; problem: string }[] = [];
  for (const [index, each] of all.entries()) {
    const read = v.safeParse(ruleSchema, each);
    if (read.success) rules.push(read.output);
    else bad.push({ index, rule: each, problem: read.issues[0].message });
  }
  if (bad.length === 0 && problems.length === 0) return { rules, note: null };
  const aside = nameAside(path);
  copyFileSync(path, aside);
  const told = [...problems];
  told.push(
    ...bad
      .slice(0, maxTold)
      .map(({ index, rule, problem }) => `rule ${index + 1}, ${nameOf(rule)}: ${bounded(problem, maxReason)}`),
  );
  if (bad.length > maxTold) told.push(`and ${bad.length - maxTold} more`);
  return {
    rules,
    isPart: true,
    note: `${path} is damaged (${told.join('; ')}); it is kept as ${aside}, and what is damaged in it is not served`,
  };
}

/** A rule that cannot be read, as far as people can tell which one it is. */
function nameOf(rule: unknown): string {
  if (typeof rule !== 'object' || rule === null) return bounded(JSON.stringify(rule), maxNamed);
  const named = v.safeParse(v.object({ src: v.object({ typed: v.string() }) }), rule);
  if (named.success) return JSON.stringify(bounded(named.output.src.typed, maxNamed));
  return Array.isArray(rule) ? 'a list' : 'without a source';
}

/** Longest name that is said of a rule, and longest reason, in UTF-16 units; and of how many rules that cannot be read it is said. */
const maxNamed = 80;
const maxReason = 200;
const maxTold = 10;

/** Editors of other systems begin a file with a byte order mark. */
function parse(text: string): unknown {
  return JSON.parse(text.replace(/^\uFEFF/, ''));
}

/** For a successor, which has its rules from elsewhere but will write the file. Throws GraceError when another version wrote it. */
export function checkStateFormat(path: string): void {
  let state: unknown;
  try {
    state = parse(readRegularFile(path));
  } catch {
    return; // missing or damaged: it is written anew
  }
  mustBeReadable(path, state);
}

/** What another version wrote is not damaged; that version must still find it. Throws GraceError. */
function mustBeReadable(path: string, state: unknown): void {
  const format = typeof state === 'object' && state !== null && 'format' in state ? state.format : undefined;
  if (typeof format !== 'number' || format === stateFormat) return;
  throw new GraceError(
    `cannot read the rules in ${path}: they have format ${format}, and this version reads format ${stateFormat}`,
    {
      hint: 'use the version that wrote them, or move the file away',
    },
  );
}

function setAside(path: string): string {
  const aside = nameAside(path);
  try {
    renameSync(path, aside);
  } catch (error) {
    throw new GraceError(`cannot keep the damaged ${path} aside: ${describeError(error)}`, {
      hint: 'move it away, or choose another state dir with -d DIR',
      cause: error,
    });
  }
  return aside;
}

function nameAside(path: string): string {
  const stamp = new Date().toISOString().replace(/[^0-9]/g, '');
  return `${path}.damaged-${stamp}-${process.pid}`;
}

/** Replace the stored rules: written to a temporary file, forced to disk, renamed. Throws GraceError; the old file then stays. */
export async function saveState(path: string, rules: readonly StoredRule[]): Promise<void> {
  const half = `${path}.${process.pid}`;
  try {
    // Exclusive: never through a link that somebody has put there.
    await rm(half, { force: true });
    const file = await open(half, 'wx', 0o600);
    try {
      await file.writeFile(`${JSON.stringify({ format: stateFormat, rules }, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(half, path);
    syncDir(dirname(path));
  } catch (error) {
    throw new GraceError(`cannot keep the rules in ${path}: ${describeError(error)}`, {
      hint: 'nothing was changed',
      cause: error,
    });
  }
}

/** Force a rename to disk. */
function syncDir(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
