/** What strangers have written, as a part of a sentence: on one line, not too long, and no order to a terminal. */

/** Longest sentence, in UTF-16 units; of a longer one the middle is left out. */
const maxLength = 4000;

/** Controls of the line, of the terminal, and of the direction in which a terminal writes. */
const controls = /[\p{Cc}\u2028\u2029\p{Bidi_Control}]/gu;

/** The text with control characters made visible, so that no endpoint or message can break a line or steer a terminal. */
export function visible(text: string): string {
  return text.replace(controls, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** JSON text with such characters escaped, of which JSON itself leaves some; a line break is none of them here. */
export function visibleJson(json: string): string {
  return json.replace(controls, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A text of so many UTF-16 units at most: of a longer one the middle is left out. */
export function bounded(text: string, longest: number = maxLength): string {
  if (text.length <= longest) return text;
  const end = Math.floor(longest / 3);
  return `${text.slice(0, longest - end - 1)}…${text.slice(text.length - end)}`;
}

/** A message of however many lines as one sentence. */
export function oneLine(text: string): string {
  const lines = bounded(text)
    .split('\n')
    .map((line) => line.trim());
  const told = lines.filter((line) => line !== '');
  return visible(
    told.map((line, at) => (at === told.length - 1 ? line : line.endsWith(':') ? `${line} ` : `${line}; `)).join(''),
  );
}
