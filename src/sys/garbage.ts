/** Collecting garbage at a time of our choosing, which V8 does only when it needs memory. */
type Collect = (options: { type: string; flavor: string }) => void;

/** Collect the garbage of the calling thread, and shrink its heap to what is left. Node; on Deno it does nothing. */
export function collectGarbage(): void {
  try {
    findCollect()({ type: 'major', flavor: 'last-resort' });
  } catch {
    // Deno has no such way; it collects when it must.
  }
}

/** Spare the threads that are started from now on a context of their own to collect from. */
export function exposeCollect(): void {
  try {
    process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
  } catch {
    // They do without.
  }
}

/** Contexts that are made after the flag was set have it: those of threads, and one that is made for it. */
function findCollect(): Collect {
  const { gc } = globalThis as { gc?: Collect };
  if (gc) return gc;
  exposeCollect();
  return process.getBuiltinModule('node:vm').runInNewContext('gc') as Collect;
}
