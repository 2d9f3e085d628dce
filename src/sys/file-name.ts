/**
 * To Linux a file name is bytes, to JavaScript a text. What is not UTF-8 in a name is held as lone
 * surrogates, U+DC80 to U+DCFF for the bytes 80 to FF, which no text has otherwise (as Python does, PEP 383).
 */

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const raw = /[\u{DC80}-\u{DCFF}]/u;

/** The text that stands for a name. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return decodePieces(bytes);
  }
}

/** Whatever is UTF-8 in it as that: a character has at most four bytes. */
function decodePieces(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const length = [1, 2, 3, 4].find((count) => isCharacter(bytes.subarray(at, at + count))) ?? 0;
    text +=
      length === 0 ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0)) : strict.decode(bytes.subarray(at, at + length));
    at += Math.max(1, length);
  }
  return text;
}

function isCharacter(bytes: Uint8Array): boolean {
  try {
    return [...strict.decode(bytes)].length === 1;
  } catch {
    return false;
  }
}

/** Whether a name has bytes that are not UTF-8. */
export function isRawName(text: string): boolean {
  return raw.test(text);
}

/** The bytes of a name. */
export function encodeName(text: string): Uint8Array<ArrayBuffer> {
  if (!isRawName(text)) return new TextEncoder().encode(text);
  const parts = Array.from(text, (character) =>
    raw.test(character) ? Uint8Array.of(character.charCodeAt(0) & 0xff) : new TextEncoder().encode(character),
  );
  const bytes = new Uint8Array(new ArrayBuffer(parts.reduce((sum, { length }) => sum + length, 0)));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A path as the functions of node:fs take it. */
export function fsPath(text: string): string | Buffer {
  return isRawName(text) ? Buffer.from(encodeName(text)) : text;
}
