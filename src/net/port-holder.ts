import fs from 'node:fs';

const TCP_LISTEN = '0A';

/**
 * Which process listens on a TCP port of this machine, as far as this process may see. Reads /proc,
 * so null elsewhere than on Linux. Meant for the hint of an error: it goes through every process.
 */
export function findPortHolder(port: number): { pid: number; command: string; stateDir: string | null } | null {
  try {
    const links = new Set(listeningInodes(port).map((inode) => `socket:[${inode}]`));
    if (links.size === 0) return null;
    const holders = fs
      .readdirSync('/proc')
      .filter((entry) => /^[0-9]+$/.test(entry) && holdsAny(entry, links))
      .map(describe);
    // A daemon's sockets are systemd's and its keeper's too, who came before it.
    return (
      holders.find(({ stateDir }) => stateDir !== null) ?? holders.find(({ pid }) => pid !== 1) ?? holders[0] ?? null
    );
  } catch {
    // No /proc, or the process ended meanwhile: the error goes without the hint.
    return null;
  }
}

function describe(pid: string): { pid: number; command: string; stateDir: string | null } {
  return {
    pid: Number(pid),
    command: fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim(),
    stateDir: stateDirOf(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8')),
  };
}

/** The state dir in the command line of a daemon of grace or of its keeper, `grace -d DIR daemon …`; null for any other program. */
function stateDirOf(commandLine: string): string | null {
  const args = commandLine.split('\0');
  const at = args.indexOf('-d');
  return at > 0 && args[at + 2] === 'daemon' ? args[at + 1]! : null;
}

/** Lines of /proc/net/tcp: `sl local_address rem_address st … inode` (proc(5)); the port is hexadecimal. */
function listeningInodes(port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
    fs
      .readFileSync(table, 'utf8')
      .split('\n')
      .flatMap((line) => {
        const fields = line.trim().split(/\s+/);
        return fields[1]?.endsWith(suffix) && fields[3] === TCP_LISTEN && fields[9] !== undefined ? [fields[9]] : [];
      }),
  );
}

function holdsAny(pid: string, links: ReadonlySet<string>): boolean {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).some((fd) => links.has(readLink(`/proc/${pid}/fd/${fd}`)));
  } catch {
    // Another user's process, or one that has just ended.
    return false;
  }
}

function readLink(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return '';
  }
}
