/** The time, for loops that ask for it at each turn. */

/** The global of this name is an accessor, which costs more than the time itself. */
const clock = globalThis.performance;

/** Milliseconds of a clock that never jumps. */
export function readClock(): number {
  return clock.now();
}
