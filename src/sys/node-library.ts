import type { CFunctions, CTable, CType, Library } from './c-types.ts';

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

/** Bind functions through `node:ffi`; null where there is none. */
export function openNodeFunctions<T extends CTable>(table: T): Library<T> | null {
  const ffi = withoutFfiWarning(() => process.getBuiltinModule('node:ffi'));
  // Older versions answer undefined, which the type does not say.
  if ((ffi as unknown) === undefined) return null;
  const definitions = Object.fromEntries(
    Object.entries(table).map(([name, { args, result }]) => [
      name,
      { arguments: args.map((type) => NODE_TYPE[type]), return: NODE_TYPE[result] },
    ]),
  );
  // The program itself: whatever C library it is linked with, and OpenSSL.
  const library = ffi.dlopen(null, definitions);
  kept.push(library);
  const { functions } = library;
  return {
    functions: functions as unknown as CFunctions<T>,
    memory: {
      addressOf: (bytes) => ffi.getRawPointer(bytes as Buffer),
      int32At: (address) => () => ffi.getInt32(address, 0),
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
