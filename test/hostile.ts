/**
 * What hostile input is made of, and what must hold of whoever reads it. More runs, with another seed each time:
 * GRACE_FUZZ_RUNS=100 npm test -- …; a seed that a failure told: GRACE_FUZZ_SEED=….
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { GraceError } from '../src/error.ts';
import { countCpuMs } from './cpu-time.ts';

const factor = Number(process.env['GRACE_FUZZ_RUNS'] || 1);
const seed =
  Number(process.env['GRACE_FUZZ_SEED'] || 0) || (factor === 1 ? 20_261_126 : Math.floor(Math.random() * 2 ** 31));

/** How long so many times as much may take, in milliseconds. */
export const timeout = 60_000 * Math.max(1, factor);

/** How often a property is tried, and with which seed; a failure tells the seed. */
function trials<T>(runs: number): fc.Parameters<[T]> {
  return { numRuns: Math.ceil(runs * factor), seed };
}

/** Try a property of hostile input so many times. Throws with the smallest input for which it does not hold, and its seed. */
export function always<T>(runs: number, input: fc.Arbitrary<T>, holds: (input: T) => void): void {
  fc.assert(fc.property(input, holds), trials(runs));
}

/** The same of what takes its time. */
export async function alwaysInTime<T>(
  runs: number,
  input: fc.Arbitrary<T>,
  holds: (input: T) => Promise<void>,
): Promise<void> {
  await fc.assert(fc.asyncProperty(input, holds), { ...trials(runs), endOnFailure: true });
}

/** What is hard on whoever reads text, whatever the language. */
const hardPieces = [
  '\0',
  '\n',
  '\r\n',
  '\t',
  ' ',
  '\u001b[2J',
  '\u0085',
  '\u2028',
  '\u202e',
  '\ufeff',
  '\ufffd',
  '\ud800',
  '\udcff',
  'é',
  '🙂',
  '__proto__',
  'constructor',
  'toString',
  '%s',
  '$&',
  '${HOME}',
  '1e999',
  '-0',
  '99999999999999999999',
  '0x10',
  '١',
  "'",
  '"',
  '`',
  '\\',
  '\\\\',
  '..',
];

/** Texts of these words, of what is hard for anybody, and of anything at all. */
export function hostileText(words: readonly string[], maxLength = 16): fc.Arbitrary<string> {
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...words) },
    { weight: 2, arbitrary: fc.constantFrom(...hardPieces) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 4 }) },
  );
  return fc.array(piece, { maxLength }).map((pieces) => pieces.join(''));
}

/** A known text of which a part has been replaced. */
export function mutatedText(known: readonly string[], words: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...known), fc.nat(), fc.nat({ max: 4 }), hostileText(words, 3))
    .map(([text, at, cut, put]) => {
      const from = at % (text.length + 1);
      return text.slice(0, from) + put + text.slice(from + cut);
    });
}

/** A JSON value of any kind, also one that no schema has thought of. */
export const hostileJson: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    '',
    0,
    -1,
    0.5,
    1e308,
    -1e308,
    2 ** 53,
    2 ** 31,
    4_294_967_296,
    [],
    {},
    [[]],
    { toString: 1 },
    { length: -1 },
    JSON.parse('{"__proto__":{"a":1}}'),
    JSON.parse('1e999'),
  ),
  hostileText(['tcp:0', '127.0.0.1', 'a', ':'], 4),
  fc.jsonValue({ maxDepth: 3, noUnicodeString: false }),
);

/** The value with one of its parts, however deep, replaced, left out, or given twice. */
export function mutatedJson(value: unknown): fc.Arbitrary<unknown> {
  const paths = pathsOf(value);
  return fc
    .array(fc.tuple(fc.constantFrom(...paths), fc.option(hostileJson, { nil: undefined, freq: 5 })), {
      minLength: 1,
      maxLength: 3,
    })
    .map((changes) => changes.reduce((changed, [path, put]) => replaced(changed, path, put), structuredClone(value)));
}

function pathsOf(value: unknown, before: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [before];
  return [before, ...Object.entries(value).flatMap(([key, part]) => pathsOf(part, [...before, key]))];
}

function replaced(value: unknown, [key, ...rest]: readonly string[], put: unknown): unknown {
  if (key === undefined) return put;
  if (typeof value !== 'object' || value === null) return value; // an earlier change has replaced it
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  copy[key] = replaced(copy[key], rest, put);
  return copy;
}

/** Known bytes with some changed, cut off, put in or said again. */
export function mutatedBytes(known: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  const change = fc.record({
    kind: fc.constantFrom('set', 'cut', 'insert', 'repeat', 'end'),
    at: fc.nat(),
    byte: fc.oneof(fc.constantFrom(0, 1, 127, 128, 255, 13, 10), fc.nat({ max: 255 })),
    length: fc.nat({ max: 40 }),
  });
  return fc.tuple(fc.constantFrom(...known), fc.array(change, { maxLength: 5 })).map(([first, changes]) =>
    changes.reduce<Buffer>((bytes, { kind, at, byte, length }) => {
      const from = at % (bytes.length + 1);
      const [before, after] = [bytes.subarray(0, from), bytes.subarray(from)];
      if (kind === 'end') return before;
      if (kind === 'cut') return Buffer.concat([before, after.subarray(length)]);
      if (kind === 'insert') return Buffer.concat([before, Buffer.alloc(length, byte), after]);
      if (kind === 'repeat') return Buffer.concat([before, after.subarray(0, length), after]);
      return Buffer.concat([before, Buffer.from([byte]), after.subarray(1)]);
    }, Buffer.from(first)),
  );
}

/** What was read, or null when it was refused as it must be: in one bounded line without control characters. */
export function readOrRefused<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    mustBeRefusal(error);
    return null;
  }
}

/** Throws unless the error is one for users. */
export function mustBeRefusal(error: unknown): asserts error is GraceError {
  if (!(error instanceof GraceError)) throw error;
  for (const sentence of [error.message, error.hint ?? '']) {
    assert.doesNotMatch(sentence, /[\p{Cc}\u2028\u2029]/u);
    assert.ok(sentence.length < 30_000, `${sentence.length} characters`);
  }
}

/** Throws unless `work` takes no more than in proportion longer for eight times as much, in time of the processor. */
export function mustBeLinear<T>(what: string, make: (size: number) => T, size: number, work: (input: T) => void): void {
  const [small, large] = [make(size), make(8 * size)];
  work(small);
  const [first, second] = [costMs(small, work), costMs(large, work)];
  // Of little the collector of garbage and the compiler take the most.
  assert.ok(second <= 20 * Math.max(first, 10), `${what}: ${first} ms, and ${second} ms for 8 times as much`);
}

function costMs<T>(input: T, work: (input: T) => void): number {
  let best = Infinity;
  for (let round = 0; round < 3 && (round === 0 || best > 20); round++) {
    const cpuMs = countCpuMs();
    work(input);
    best = Math.min(best, cpuMs());
  }
  return best;
}
