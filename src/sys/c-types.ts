/** Types of what is called in C, for both runtimes' ways of calling. */

/** What crosses the border: see library.ts. */
export type CType = 'i32' | 'u32' | 'i64' | 'u64' | 'word' | 'bytes';
/** A function of C as a table describes it. */
export type CSignature = { readonly args: readonly CType[]; readonly result: 'i32' | 'i64' | 'u64' };
/** Functions of C by their names. */
export type CTable = Readonly<Record<string, CSignature>>;

type CValue<T> = T extends 'i32' | 'u32'
  ? number
  : T extends 'i64' | 'u64' | 'word'
    ? bigint
    : T extends 'bytes'
      ? Uint8Array | null
      : never;
type CArguments<A extends readonly CType[]> = { -readonly [I in keyof A]: CValue<A[I]> };
/** What a table becomes. */
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

/** Bound functions and the memory that they work on. */
export type Library<T extends CTable> = { readonly functions: CFunctions<T>; readonly memory: Memory };
