/**
 * Calling C. A table of signatures goes in, JavaScript functions come out: `openFunctions` is the one
 * place that tells Node (`node:ffi`) from Deno (`Deno.dlopen`).
 *
 * Only plain integers and byte arrays cross the border. Numbers are 32 bits wide, bigints 64; a byte
 * array passes the address of its first byte, null passes NULL. An argument of a variadic function
 * must be declared 64 bits wide: a narrower one leaves the upper half of its register undefined.
 *
 * A `word` fills a register with any integer or address and is not checked. A function that takes
 * nothing but words is called by compiled code directly: 5 ns on Node 26.10, where one argument of
 * another type adds up to 50 and four of them 150 to 200.
 */
import { GraceError } from '../error.ts';
import { openDenoFunctions } from './deno-library.ts';
import { openNodeFunctions } from './node-library.ts';

export type CType = 'i32' | 'u32' | 'i64' | 'u64' | 'word' | 'bytes';
export type CSignature = { readonly args: readonly CType[]; readonly result: 'i32' | 'i64' | 'u64' };
export type CTable = Readonly<Record<string, CSignature>>;

type CValue<T> = T extends 'i32' | 'u32' ? number : T extends 'i64' | 'u64' | 'word' ? bigint : T extends 'bytes' ? Uint8Array | null : never;
type CArguments<A extends readonly CType[]> = { -readonly [I in keyof A]: CValue<A[I]> };
export type CFunctions<T extends CTable> = {
  readonly [K in keyof T]: (...args: CArguments<T[K]['args']>) => CValue<T[K]['result']>;
};

/** What a runtime's foreign function interface gives. */
export type Memory = {
  /**
   * Address of the first byte. It stays valid as long as the array is reachable, provided that the
   * array was made over an `ArrayBuffer` of its own (a small typed array may live in the moving heap).
   */
  addressOf(bytes: Uint8Array): bigint;
  /** A reader for the 32-bit integer at an address that stays valid, such as errno's. */
  int32At(address: bigint): () => number;
};

export type Library<T extends CTable> = { readonly functions: CFunctions<T>; readonly memory: Memory };

/**
 * Bind functions of the C library.
 *
 * @throws GraceError when this runtime has no foreign function interface, or it is switched off.
 */
export function openFunctions<const T extends CTable>(table: T): Library<T> {
  const library = 'Deno' in globalThis ? openDenoFunctions(table) : openNodeFunctions(table);
  if (library === null) {
    throw new GraceError('cannot call the C library: this runtime has no foreign function interface', {
      hint: 'use Node 26 or newer, without --no-experimental-ffi; or Deno 2.9 with --allow-ffi',
    });
  }
  return library;
}
