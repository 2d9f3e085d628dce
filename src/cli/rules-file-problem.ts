/** What is wrong with the form of a file of rules, in words for whoever wrote it. */
import type { BaseIssue } from 'valibot';
import { quoted } from '../endpoint/error.ts';
import { nearest } from '../nearest.ts';

const keysOfRule = ['src', 'dst', 'name'];
const form = 'its form: grace schema, and grace export prints one';

/** A sentence about the part of the file where it is, and what to do about it. */
export function problemOfForm(issue: BaseIssue<unknown>): { problem: string; hint: string } {
  const path = issue.path?.map(({ key }) => key as PropertyKey) ?? [];
  const [part, parent] = [nameOf(path), nameOf(path.slice(0, -1))];
  const last = String(path.at(-1) ?? '');
  if (issue.type === 'check') return { problem: `${part} ${issue.message}`, hint: form };
  if (path.length === 0 || (path.length === 1 && issue.input === undefined)) return problemOfFile(issue);
  if (issue.expected === 'never') {
    const keys = path.length === 1 ? ['rules'] : keysOfRule;
    const meant = nearest(last, keys);
    return {
      problem: `${parent} has no ${quoted(last)}`,
      hint: meant === undefined ? `there is ${keys.join(', ')}` : `is ${meant} meant? There is ${keys.join(', ')}`,
    };
  }
  if (issue.input === undefined) return { problem: `${parent} has no ${last}`, hint: form };
  const problem = `${part} is ${kindOf(issue.input)}, and is to be ${wanted[issue.type] ?? 'something else'}`;
  return { problem, hint: typeof issue.input === 'number' ? hintForNumber(last, issue.input) : form };
}

const wanted: Readonly<Record<string, string>> = {
  string: 'a text',
  array: 'a list of rules',
  strict_object: 'a rule: src and dst',
};

/** A file that is cut off, or another one, must not stop every rule. */
function problemOfFile({ input, path }: BaseIssue<unknown>): { problem: string; hint: string } {
  const whole = path?.[0]?.input ?? input;
  const isEmpty = typeof whole === 'object' && whole !== null && Object.keys(whole).length === 0;
  if (isEmpty && !Array.isArray(whole))
    return { problem: 'the file has no rules', hint: 'one without any, which stops them all, says so: rules: []' };
  const isMap = typeof whole === 'object' && !Array.isArray(whole);
  return { problem: `the file ${isMap ? 'has no "rules"' : `is ${kindOf(whole)}, and no rules`}`, hint: form };
}

/** YAML takes `8080` for a number. */
function hintForNumber(key: string, number: number): string {
  if (key === 'src') return `write '${number}' with the quotes, or tcp:${number}`;
  if (key === 'dst') return `write '${number}' with the quotes, or tcp:127.0.0.1:${number}`;
  return `write '${number}' with the quotes`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return 'a text';
  return typeof value === 'object' ? 'a map' : `the ${typeof value} ${quoted(String(value)).slice(1, -1)}`;
}

function nameOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? 'the file' : path.map(String).join('.');
}
