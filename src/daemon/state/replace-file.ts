import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** Replace a file of the state dir in one step, for this user alone. It is not forced to disk. Throws what the system says. */
export function replaceFile(path: string, text: string): void {
  const half = `${path}.${process.pid}`;
  // Exclusive: never through a link that somebody has put there.
  rmSync(half, { force: true });
  writeFileSync(half, text, { flag: 'wx', mode: 0o600 });
  renameSync(half, path);
}
