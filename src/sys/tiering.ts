/** How soon V8 compiles what a thread runs. */

/**
 * A function of this project is compiled well after so many calls (V8: 400 by the compiler in the middle, 3000 by the
 * one that calls C directly; until then a call of C costs up to a microsecond). What runs a few times for a
 * connection would take thousands of connections until it costs what it can.
 */
const FLAGS = [
  '--invocation-count-for-maglev=100',
  '--invocation-count-for-turbofan=300',
  '--minimum-invocations-after-ic-update=100',
];

/** Have V8 compile sooner from now on, in all threads of the process. On another runtime it does nothing. */
export function compileSooner(): void {
  try {
    for (const flag of FLAGS) process.getBuiltinModule('node:v8').setFlagsFromString(flag);
  } catch {
    // They do without.
  }
}
