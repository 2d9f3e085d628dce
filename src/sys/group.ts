/** Groups of users by their names. */
import { findAccount, isAccountName } from './accounts.ts';

/** The number of a group that is named by its name or its number; null when there is none of that name. */
export function findGroup(name: string): number | null {
  if (/^[0-9]{1,10}$/.test(name)) return Number(name) < 2 ** 32 - 1 ? Number(name) : null;
  if (!isAccountName(name)) return null;
  return findAccount('group', name, (entries) => {
    const id = entries.find(([first]) => first === name)?.[2];
    return id && Number.isInteger(Number(id)) ? Number(id) : null;
  });
}
