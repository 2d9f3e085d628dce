/** The daemons of this machine that run one executable. Linux; elsewhere none is found. */
import { readFileSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';

/** State dirs of the daemons that were started from an executable, those of other users included; each once. */
export function findStateDirs(target: string): string[] {
  const dirs = processes().flatMap((pid) => stateDirOf(pid, target) ?? []);
  return [...new Set(dirs)].sort();
}

function processes(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  } catch {
    return [];
  }
}

/** Of `EXECUTABLE … -d DIR daemon …`, as a daemon and its keeper are started. */
function stateDirOf(pid: string, target: string): string | null {
  try {
    const [file = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const at = args.indexOf('-d');
    if (at === -1 || args[at + 2] !== 'daemon' || executableOf(pid, file) !== target) return null;
    return args[at + 1] ?? null;
  } catch {
    return null; // it has just ended
  }
}

/** What a process runs, which only its user and root may see; else what it was started as. */
function executableOf(pid: string, file: string): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  } catch {
    return realpathSync(file);
  }
}
