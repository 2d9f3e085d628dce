/** Users by their names. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A user of passwd(5); one that is named by a number need not be known there. */
export type User = {
  uid: number;
  /** Null: the number is nobody's. */
  known: { name: string; gid: number; home: string } | null;
};

const maxId = 2 ** 32 - 2;

/**
 * The user who is named by name or number; null when there is none of that name. passwd(5) is read, and what else
 * the system knows is asked for with getent(1).
 */
export function findUser(text: string): User | null {
  const isNumber = /^[0-9]{1,10}$/.test(text);
  if (isNumber ? Number(text) > maxId : !/^[^:\s\0/-][^:\s\0/]*$/.test(text)) return null;
  const column = isNumber ? 2 : 0;
  const found =
    userIn(readUsers(), column, text) ??
    userIn(spawnSync('getent', ['passwd', text], { encoding: 'utf8', timeout: 10_000 }).stdout ?? '', column, text);
  return found ?? (isNumber ? { uid: Number(text), known: null } : null);
}

function readUsers(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return '';
  }
}

function userIn(lines: string, column: 0 | 2, wanted: string): User | null {
  const isWanted = (field: string | undefined) =>
    column === 0 ? field === wanted : !!field && Number(field) === Number(wanted);
  const [name = '', , uid, gid, , home = '/'] =
    lines
      .split('\n')
      .map((line) => line.split(':'))
      .find((fields) => isWanted(fields[column])) ?? [];
  if (!uid || !gid || !/^[0-9]+$/.test(uid) || !/^[0-9]+$/.test(gid)) return null;
  return { uid: Number(uid), known: { name, gid: Number(gid), home } };
}
