/**
 * Resolves when something has become so that no event tells of: what another process has written, a row of /proc, a
 * counter. Rejects when that takes too long.
 */
export async function until(
  what: string | (() => string),
  isSo: () => boolean | Promise<boolean>,
  { limitMs = 120_000 } = {},
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await isSo())) {
    if (performance.now() > deadline)
      throw new Error(`not within ${limitMs / 1000} s: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
