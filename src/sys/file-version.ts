import type { BigIntStats } from 'node:fs';

/** A text that is another one when a file has other contents: by inode, size and times, as far as they tell. */
export function versionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}
