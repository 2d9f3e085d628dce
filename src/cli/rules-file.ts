/** The file of `grace apply`: YAML, read with the places of what is wrong in it. */
import * as v from 'valibot';
import { LineCounter, parseDocument, stringify, visit } from 'yaml';
import type { Document } from 'yaml';
import type { EndpointText } from '../control/shapes.ts';
import { isRuleName } from '../control/rule-name.ts';
import { checkClient, checkServer } from '../endpoint/check.ts';
import { parseClient } from '../endpoint/client.ts';
import { clientKey, listenKey, serverKey } from '../endpoint/identity.ts';
import { parseServer } from '../endpoint/server.ts';
import { GraceError } from '../error.ts';
import { readDestination, readSource } from './endpoint-text.ts';
import { expandVariables } from './variables.ts';

const ruleSchema = v.strictObject({
  src: v.pipe(v.string(), v.description('where to listen: a server endpoint')),
  dst: v.pipe(v.string(), v.description('where to connect: a client endpoint')),
  name: v.optional(
    v.pipe(
      v.string(),
      v.check(
        isRuleName,
        'is no name: a word of letters, digits, ".", "-" and "_" that begins with a letter and is no type of endpoint',
      ),
      v.description('a name for the rule'),
    ),
  ),
});

/** Schema of the whole file. */
export const rulesFileSchema = v.strictObject({ rules: v.array(ruleSchema) });

/** A rule as the daemon takes it, and what tells it from others. */
export type FileRule = { src: EndpointText; dst: EndpointText; listenKey: string; key: string };

/** Where the file comes from, and what its variables stand for. */
export type ReadOptions = {
  /** Its name for messages. */
  file: string;
  /** Relative paths in it are relative to it. */
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
};

/** What the file says, checked as far as can be without the daemon. Throws GraceError (exit code 2) with line and column. */
export function readRulesFile(text: string, { file, cwd, env }: ReadOptions): FileRule[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [problem] = document.errors;
  if (problem) throw usage(`${at(problem.pos[0])}: ${problem.message}`);
  visit(document, {
    Scalar(key, node) {
      if (key === 'key' || typeof node.value !== 'string') return;
      const value = expandVariables(node.value, env, (problem) => {
        throw usage(`${at(node.range?.[0] ?? 0)}: ${problem}`);
      });
      node.value = value;
    },
  });
  const placeOf = (path: readonly PropertyKey[]) => at(offsetOf(document, path));
  const parsed = v.safeParse(rulesFileSchema, document.toJS() ?? {});
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const path = issue.path?.map(({ key }) => key as PropertyKey) ?? [];
    throw usage(
      `${placeOf(path)}: ${path.length === 0 ? 'the file' : path.join('.')} ${issue.type === 'check' ? issue.message : `is not as it should be: ${issue.message}`}`,
      'its form: grace schema, and grace export prints one',
    );
  }
  const rules = parsed.output.rules.map((rule, index) => {
    const read = <T>(part: 'src' | 'dst', act: () => T): T => {
      try {
        return act();
      } catch (error) {
        if (!(error instanceof GraceError)) throw error;
        throw usage(`${placeOf(['rules', index, part])}: ${error.message}`, error.hint);
      }
    };
    const src = read('src', () => {
      checkServer(parseServer(rule.src), { text: rule.src, isServing: false });
      return readSource(rule.src, cwd);
    });
    const dst = read('dst', () => {
      checkClient(parseClient(rule.dst), { text: rule.dst });
      return readDestination(rule.dst, cwd);
    });
    return keyed({ src: rule.name === undefined ? src : { ...src, name: rule.name }, dst });
  });
  for (const [part, of] of [
    ['src', (rule: FileRule) => rule.listenKey],
    ['name', (rule: FileRule) => rule.src.name],
  ] as const) {
    const values = rules.map(of);
    const second = values.findIndex((value, index) => value !== undefined && values.indexOf(value) !== index);
    if (second !== -1)
      throw usage(
        `${placeOf(['rules', second, part])}: another rule has this ${part === 'src' ? 'address' : 'name'} already, at ${placeOf(['rules', values.indexOf(values[second]), part])}`,
      );
  }
  return rules;
}

/** A rule of the daemon, or of a file, with its keys. */
export function keyed({ src, dst }: { src: EndpointText; dst: EndpointText }): FileRule {
  const [server, client] = [parseServer(src.absolute), parseClient(dst.absolute)];
  return { src, dst, listenKey: listenKey(server), key: JSON.stringify([serverKey(server), clientKey(client)]) };
}

/** The file for these rules. Endpoints stand there as they were typed, where that means the same wherever it is read. */
export function printRulesFile(rules: readonly { src: EndpointText; dst: EndpointText }[]): string {
  const lines = rules.map(({ src, dst }) => ({
    ...(src.name === undefined ? {} : { name: src.name }),
    src: sameOr(src, (text) => serverKey(parseServer(text))),
    dst: sameOr(dst, (text) => clientKey(parseClient(text))),
  }));
  return stringify({ rules: lines }, { lineWidth: 0 });
}

function sameOr({ typed, absolute }: EndpointText, key: (text: string) => string): string {
  try {
    return key(typed) === key(absolute) ? typed : absolute;
  } catch {
    return absolute;
  }
}

/** Where a part of the document begins, or the next bigger one that is there. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : null;
    if (Array.isArray(range) && typeof range[0] === 'number') return range[0];
  }
  return 0;
}

function usage(message: string, hint?: string): GraceError {
  return new GraceError(message, { hint, code: 'ERR_GRACE_USAGE' });
}
