import type { CFunctions, CSignature, CTable, CType, Library } from './c-types.ts';

const NODE_TYPE = {
  i32: 'int32',
  u32: 'uint32',
  i64: 'int64',
  u64: 'uint64',
  word: 'pointer',
  bytes: 'pointer',
} as const satisfies Record<CType, string>;

/**
 * Libraries that were opened, for as long as the thread lives. In Node 26.10 the compiler may end the process
 * (SIGTRAP, "FastApiCallNode::ArityForArgc") when it compiles a call of a function whose library is being collected.
 */
const kept: unknown[] = [];

/** In the place of an argument that a function does not have. */
type OfTwoWords = (word: bigint, none: bigint) => unknown;
const TWO_WORDS = ['word', 'word'] as const;

function isOfOneWord({ args }: CSignature): boolean {
  return args.length === 1 && args[0] === 'word';
}

/**
 * Node 26.10 has functions of nothing but pointers called by compiled code directly, but not those of a single one: these
 * it calls in a function of its own, the same for all, which checks what it is given (60 ns more), and which only where the caller has
 * room for it is compiled into that (else 500 ns more). So they are said to take two, of which they read one.
 */
function withOneWord(call: OfTwoWords): (word: bigint) => unknown {
  return (word) => call(word, 0n);
}

/** Bind functions through `node:ffi`; null where there is none. */
export function openNodeFunctions<T extends CTable>(table: T): Library<T> | null {
  const ffi = withoutFfiWarning(() => process.getBuiltinModule('node:ffi'));
  // Older versions answer undefined, which the type does not say.
  if ((ffi as unknown) === undefined) return null;
  const signatures = Object.entries<CSignature>(table);
  const definitions = Object.fromEntries(
    signatures.map(([name, signature]) => {
      const args = isOfOneWord(signature) ? TWO_WORDS : signature.args;
      return [name, { arguments: args.map((type) => NODE_TYPE[type]), return: NODE_TYPE[signature.result] }];
    }),
  );
  // The program itself: whatever C library it is linked with, and OpenSSL.
  const library = ffi.dlopen(null, definitions);
  kept.push(library);
  const { functions } = library as unknown as { functions: Record<string, OfTwoWords> };
  // Not Node's own object: each call would look its function up by the name.
  const own = signatures.map(([name, signature]) => {
    const call = functions[name]!;
    return [name, isOfOneWord(signature) ? withOneWord(call) : call];
  });
  return {
    functions: Object.fromEntries(own) as CFunctions<T>,
    memory: {
      addressOf: (bytes) => ffi.getRawPointer(bytes as Buffer),
      int32At(address) {
        const view = new Int32Array(ffi.toArrayBuffer(address, Int32Array.BYTES_PER_ELEMENT, false)); // the memory itself
        return () => view[0]!;
      },
    },
  };
}

/**
 * Run `load` without the ExperimentalWarning that the first load of node:ffi prints. The executable
 * carries the Node it was tested with, so the warning tells its user nothing; all others pass.
 */
function withoutFfiWarning<T>(load: () => T): T {
  const emitWarning = process.emitWarning;
  const filtered = (...args: unknown[]): void => {
    if (args[1] === 'ExperimentalWarning' && String(args[0]).startsWith('FFI ')) return;
    Reflect.apply(emitWarning, process, args);
  };
  process.emitWarning = filtered as typeof process.emitWarning;
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}
