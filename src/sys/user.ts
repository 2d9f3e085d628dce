/** Users by their names. */
import { findAccount, isAccountName } from './accounts.ts';

/** A user of passwd(5); one that is named by a number need not be known there. */
export type User = {
  uid: number;
  /** Null: the number is nobody's. */
  known: { name: string; gid: number; home: string } | null;
};

const maxId = 2 ** 32 - 2;

/** The user who is named by name or number; null when there is none of that name. */
export function findUser(text: string): User | null {
  const isNumber = /^[0-9]{1,10}$/.test(text);
  if (isNumber ? Number(text) > maxId : !isAccountName(text)) return null;
  const isWanted = (name: string, uid: string | undefined) =>
    isNumber ? !!uid && Number(uid) === Number(text) : name === text;
  const found = findAccount('passwd', text, (entries) => {
    const [name = '', , uid = '', gid = '', , home = '/'] =
      entries.find(([first = '', , id]) => isWanted(first, id)) ?? [];
    if (!/^[0-9]+$/.test(uid) || !/^[0-9]+$/.test(gid)) return null;
    return { uid: Number(uid), known: { name, gid: Number(gid), home } };
  });
  return found ?? (isNumber ? { uid: Number(text), known: null } : null);
}
