/** The file of `grace apply`: YAML, read with the places of what is wrong in it. */
import * as v from 'valibot';
import { Scalar, stringify } from 'yaml';
import type { EndpointText } from '../control/shapes.ts';
import { isRuleName } from '../control/rule-name.ts';
import { checkClient, checkServer } from '../endpoint/check.ts';
import { parseClient } from '../endpoint/client.ts';
import { clientKey, listenKey, serverKey } from '../endpoint/identity.ts';
import { parseServer } from '../endpoint/server.ts';
import { GraceError } from '../error.ts';
import { visibleJson } from '../one-line.ts';
import { readDestination, readSource } from './endpoint-text.ts';
import { problemOfForm } from './rules-file-problem.ts';
import { escapeDollars, expandVariables } from './variables.ts';
import { readYaml } from './yaml-document.ts';

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

/** The same where destinations may come from elsewhere. */
const openSchema = v.strictObject({
  rules: v.array(v.strictObject({ ...ruleSchema.entries, dst: v.optional(ruleSchema.entries.dst) })),
});

/** A rule as the daemon takes it, and what tells it from others. */
export type FileRule = {
  src: EndpointText;
  dst: EndpointText;
  listenKey: string;
  key: string;
  /** Of one of a file: where its destination stands there, for messages. */
  place?: string;
};

/** Where the file comes from, and what its variables stand for. */
export type ReadOptions = {
  /** Its name for messages. */
  file: string;
  /** Relative paths in it are relative to it. */
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Where destinations come from that are not in the file. Without it each rule has its own. */
  elsewhere?: Elsewhere;
};

/** The destination of a rule in place of the file's own; without either one the rule is left out, if it has a name by which it can get one. */
export type Elsewhere = (rule: {
  name: string | undefined;
  /** Whether the file has one for it. */
  hasOwn: boolean;
  /** That of {@link FileRule}. */
  listenKey: string;
}) => EndpointText | undefined;

/** What the file says, checked as far as can be without the daemon. Throws GraceError (exit code 2) with line and column. */
export function readRulesFile(text: string, { file, cwd, env, elsewhere }: ReadOptions): FileRule[] {
  if (text.includes('\0')) throw usage(`${file}: this is no text`, 'a file of rules is YAML: grace export prints one');
  const { document, placeAt } = readYaml(text, {
    expand: (value, refuse) => expandVariables(value, env, refuse),
    refuse: (place, problem) => {
      throw usage(`${file}:${place}: ${problem}`);
    },
  });
  const placeOf = (path: readonly PropertyKey[]) => `${file}:${placeAt(path)}`;
  const parsed = v.safeParse(elsewhere ? openSchema : rulesFileSchema, document.toJS() ?? {});
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const { problem, hint } = problemOfForm(issue);
    throw usage(`${placeOf(issue.path?.map(({ key }) => key as PropertyKey) ?? [])}: ${problem}`, hint);
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
    const own = rule.dst;
    const ownDst = own === undefined ? undefined : read('dst', () => readCheckedDestination(own, cwd));
    const dst =
      elsewhere?.({
        name: rule.name,
        hasOwn: own !== undefined,
        listenKey: listenKey(parseServer(src.absolute)),
      }) ?? ownDst;
    if (dst === undefined) {
      if (rule.name !== undefined) return null; // it gets one when there is one
      throw usage(
        `${placeOf(['rules', index])}: rules.${index} has neither dst nor name: destinations are registered by name`,
      );
    }
    return {
      ...keyed({ src: rule.name === undefined ? src : { ...src, name: rule.name }, dst }),
      place: placeOf(['rules', index, ...(own === undefined ? [] : ['dst'])]),
    };
  });
  for (const [part, of] of [
    ['src', (rule: FileRule) => rule.listenKey],
    ['name', (rule: FileRule) => rule.src.name],
  ] as const) {
    const firsts = new Map<string, number>();
    for (const [second, rule] of rules.entries()) {
      const value = rule && of(rule);
      if (value === undefined || value === null) continue;
      const first = firsts.get(value);
      if (first !== undefined)
        throw usage(
          `${placeOf(['rules', second, part])}: another rule has this ${part === 'src' ? 'address' : 'name'} already, at ${placeOf(['rules', first, part])}`,
        );
      firsts.set(value, second);
    }
  }
  return rules.filter((rule) => rule !== null);
}

/** DST of a rule, checked as far as can be without the daemon. Throws EndpointError or GraceError. */
export function readCheckedDestination(typed: string, cwd: string): EndpointText {
  checkClient(parseClient(typed), { text: typed });
  return readDestination(typed, cwd);
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
    src: scalarOf(sameOr(src, (text) => serverKey(parseServer(text)))),
    dst: scalarOf(sameOr(dst, (text) => clientKey(parseClient(text)))),
  }));
  return visibleJson(stringify({ rules: lines }, { lineWidth: 0 }));
}

/** In double quotes, in which YAML has JSON's escapes, where there is something to be escaped. */
function scalarOf(text: string): string | Scalar<string> {
  const escaped = escapeDollars(text);
  return visibleJson(escaped) === escaped ? escaped : Object.assign(new Scalar(escaped), { type: Scalar.QUOTE_DOUBLE });
}

function sameOr({ typed, absolute }: EndpointText, key: (text: string) => string): string {
  try {
    return key(typed) === key(absolute) ? typed : absolute;
  } catch {
    return absolute;
  }
}

function usage(message: string, hint?: string): GraceError {
  return new GraceError(message, { hint, code: 'ERR_GRACE_USAGE' });
}
