/** V8 compiles hot functions in threads of its own, beside the one that they run in. */

/** A thread that ends beside this one may take away the syntax that this one needs for a moment. */
const ATTEMPTS = 20;

/**
 * Wait until nothing of the calling thread is being compiled. A thread that has called C functions does so before it ends:
 * Node frees what it knows of them while the compiler may be at a call of one, and the process ends (SIGTRAP,
 * "FastApiCallNode::ArityForArgc", in Node 26.10). Some milliseconds at most. On another engine than V8, or where
 * V8 lets nobody ask for that, it does nothing.
 */
export function awaitCompiler(): void {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return findWait()();
    } catch (error) {
      if (!(error instanceof SyntaxError)) return;
    }
  }
}

/** V8's own functions can be named only while a flag of the process says so. */
function findWait(): () => void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  setFlagsFromString('--allow-natives-syntax');
  try {
    return new Function('%FinalizeOptimization()') as () => void;
  } finally {
    setFlagsFromString('--no-allow-natives-syntax');
  }
}
