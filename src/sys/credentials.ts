/** Whose rights this process has (credentials(7)). The C library changes those of every thread. Linux only. */
import { check, linuxOnly } from './libc.ts';

/** "This one stays as it is." */
const unchanged = 0xffff_ffff;

/**
 * Take the group `gid`, and those that the user of that name is a member of; with no name, no others. Throws
 * SystemError EPERM where that is not for this process to do.
 */
export function takeGroups({ gid, name }: { gid: number; name: string | null }): void {
  const { initgroups, setgroups, setresgid } = linuxOnly('setresgid');
  if (name === null) check(setgroups(1n, new Uint8Array(new Uint32Array([gid]).buffer)), 'setgroups');
  else check(initgroups(new TextEncoder().encode(`${name}\0`) as Uint8Array<ArrayBuffer>, gid), 'initgroups');
  check(setresgid(gid, gid, gid), 'setresgid');
}

/** Act with the rights of a user for now; a process that is root otherwise may act as root again. Throws SystemError EPERM. */
export function actAs(uid: number): void {
  check(linuxOnly('setresuid').setresuid(unchanged, uid, unchanged), 'setresuid');
}

/** Be that user for good. Throws SystemError EPERM, and Error should there be a way back. */
export function becomeForGood(uid: number): void {
  const { setresuid } = linuxOnly('setresuid');
  check(setresuid(uid, uid, uid), 'setresuid');
  if (setresuid(unchanged, 0, unchanged) === 0) throw new Error('the rights of root could be taken back');
}
