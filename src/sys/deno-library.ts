import type { CFunctions, CTable, CType, Library } from './c-types.ts';

const DENO_TYPE = {
  i32: 'i32',
  u32: 'u32',
  i64: 'i64',
  u64: 'u64',
  word: 'u64',
  bytes: 'buffer',
} as const satisfies Record<CType, string>;

/** The part of Deno's global object that is used here; its type declarations are not part of Node's. */
type DenoFfi = {
  dlopen(
    path: string,
    symbols: Record<string, { parameters: string[]; result: string; nonblocking: boolean }>,
  ): { symbols: unknown };
  UnsafePointer: {
    of(bytes: Uint8Array): object | null;
    value(pointer: object | null): bigint;
    create(address: bigint): object | null;
  };
  UnsafePointerView: new (pointer: object) => { getInt32(offset?: number): number };
  build: { os: string };
};

/**
 * Bind functions through `Deno.dlopen`. Throws Deno's NotCapable error without `--allow-ffi`.
 *
 * @param options.areInBackground they run on a thread of their own, and return a promise of their result. Default: false
 */
export function openDenoFunctions<T extends CTable>(
  table: T,
  { areInBackground = false }: { areInBackground?: boolean } = {},
): Library<T> {
  const deno = Reflect.get(globalThis, 'Deno') as DenoFfi;
  const symbols = Object.fromEntries(
    Object.entries(table).map(([name, { args, result }]) => [
      name,
      { parameters: args.map((type) => DENO_TYPE[type]), result: DENO_TYPE[result], nonblocking: areInBackground },
    ]),
  );
  const library = deno.dlopen(deno.build.os === 'darwin' ? '/usr/lib/libSystem.B.dylib' : 'libc.so.6', symbols);
  return {
    functions: library.symbols as CFunctions<T>,
    memory: {
      addressOf: (bytes) => deno.UnsafePointer.value(deno.UnsafePointer.of(bytes)),
      int32At: (address) => {
        const pointer = deno.UnsafePointer.create(address);
        if (pointer === null) throw new TypeError('cannot read at address 0');
        const view = new deno.UnsafePointerView(pointer);
        return () => view.getInt32(0);
      },
    },
  };
}
