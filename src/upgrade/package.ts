/** Whether an executable came by a package manager, which then counts it among its own. */
import { readFileSync } from 'node:fs';

/** What dpkg has put where for the package of grace, a path a line (dpkg(1)). */
const dpkgList = '/var/lib/dpkg/info/grace.list';

/** A sentence for who upgrades a file of the package; null when it is none. rpm has no such file to be read. */
export function noteOnPackage(target: string, list: string = dpkgList): string | null {
  try {
    if (!readFileSync(list, 'utf8').split('\n').includes(target)) return null;
  } catch {
    return null; // no dpkg, or no such package
  }
  return `${target} is a file of the package grace, of which dpkg thinks that it has the version before; a newer package brings both together`;
}
