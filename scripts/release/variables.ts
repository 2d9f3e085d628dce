/**
 * Variables at which Node ends before any program of the executable's runs, although it is told to heed
 * none (`execArgvExtension` in pkg.ts).
 */
const fatal = ['NODE_REPL_EXTERNAL_MODULE'];

/** Take their names out of an executable, in place: no variable has the empty name that Node then looks for. */
export function forgetVariables(executable: Buffer): void {
  for (const name of fatal) {
    const bytes = Buffer.from(`\0${name}\0`);
    for (let at = executable.indexOf(bytes); at >= 0; at = executable.indexOf(bytes, at + 1)) executable[at + 1] = 0;
  }
}
