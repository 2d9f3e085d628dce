/** Where the system keeps who its users and groups are. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Whether a text may be the name of a user or group: it neither ends a field nor looks like an option. */
export function isAccountName(text: string): boolean {
  return /^[^:\s\0/-][^:\s\0/]*$/.test(text);
}

/**
 * What `find` makes of the lines of passwd(5) or group(5), or else of those that getent(1) has for a name or number:
 * the system may know more than its files. Null when neither has it.
 */
export function findAccount<T>(
  database: 'passwd' | 'group',
  key: string,
  find: (entries: readonly string[][]) => T | null,
): T | null {
  return (
    find(entriesOf(readDatabase(database))) ??
    find(entriesOf(spawnSync('getent', [database, key], { encoding: 'utf8', timeout: 10_000 }).stdout ?? ''))
  );
}

function readDatabase(database: string): string {
  try {
    return readFileSync(`/etc/${database}`, 'utf8');
  } catch {
    return '';
  }
}

function entriesOf(lines: string): string[][] {
  return lines.split('\n').map((line) => line.split(':'));
}
