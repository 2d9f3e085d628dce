/** Groups of users by their names. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * The number of a group that is named by its name or its number; null when there is none of that name.
 * group(5) is read, and what else the system knows is asked for with getent(1).
 */
export function findGroup(name: string): number | null {
  if (/^[0-9]{1,10}$/.test(name)) return Number(name) < 2 ** 32 - 1 ? Number(name) : null;
  if (!/^[^:\s\0/-][^:\s\0/]*$/.test(name)) return null;
  return (
    numberIn(readGroups(), name) ??
    numberIn(spawnSync('getent', ['group', name], { encoding: 'utf8', timeout: 10_000 }).stdout ?? '', name)
  );
}

function readGroups(): string {
  try {
    return readFileSync('/etc/group', 'utf8');
  } catch {
    return '';
  }
}

function numberIn(lines: string, name: string): number | null {
  const fields = lines
    .split('\n')
    .map((line) => line.split(':'))
    .find(([first]) => first === name);
  const id = Number(fields?.[2]);
  return fields?.[2] && Number.isInteger(id) ? id : null;
}
