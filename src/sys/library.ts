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
import type { CTable, Library } from './c-types.ts';
import { openDenoFunctions } from './deno-library.ts';
import { openNodeFunctions } from './node-library.ts';

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
