import { isTypeName } from '../endpoint/short.ts';

/** Whether a text can be the name of a rule: a word that no endpoint can be, at most 64 characters. */
export function isRuleName(text: string): boolean {
  return /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(text) && !isTypeName(text);
}
