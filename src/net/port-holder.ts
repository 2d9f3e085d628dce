import fs from 'node:fs';

const TCP_LISTEN = '0A';

/** A process that listens. */
export type PortHolder = { pid: number; command: string; stateDir: string | null };

/** A look at every process is good for so long, in milliseconds, and for ten times as long as it took. */
const freshMs = 500;

/**
 * Which processes listen on the TCP ports of this machine, as far as this process may see. Reads /proc, so there are
 * none elsewhere than on Linux. Meant for the hints of errors: a look goes through every descriptor of every
 * process, so those who ask shortly after one another, as for a thousand rules, share one.
 */
export class PortHolders {
  #seen: Map<number, readonly string[]> = new Map();
  #freshUntil = 0;
  #looks = 0;

  /** How often every process was looked at. */
  get looks(): number {
    return this.#looks;
  }

  /** Who listens on a port; null when nobody does, or nobody whom this process may see. */
  find(port: number): PortHolder | null {
    try {
      const isFresh = performance.now() < this.#freshUntil;
      if (!isFresh || !this.#seen.has(port)) this.#look();
      const holders = (this.#seen.get(port) ?? []).map(describe);
      // A daemon's sockets are systemd's and its keeper's too, who came before it.
      return (
        holders.find(({ stateDir }) => stateDir !== null) ?? holders.find(({ pid }) => pid !== 1) ?? holders[0] ?? null
      );
    } catch {
      // No /proc, or the process ended meanwhile: the error goes without the hint.
      return null;
    }
  }

  #look(): void {
    const began = performance.now();
    this.#looks++;
    const ports = listeningPorts();
    const pids = new Map<number, string[]>(Array.from(ports.values(), (port) => [port, []]));
    for (const pid of fs.readdirSync('/proc').filter((entry) => /^[0-9]+$/.test(entry))) {
      const held = new Set(linksOf(pid).flatMap((link) => ports.get(link) ?? []));
      for (const port of held) pids.get(port)?.push(pid);
    }
    this.#seen = pids;
    const ended = performance.now();
    this.#freshUntil = ended + Math.max(freshMs, 10 * (ended - began));
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

/** Ports by the links to their sockets. Lines of /proc/net/tcp: `sl local_address rem_address st … inode` (proc(5)); the port is hexadecimal. */
function listeningPorts(): Map<string, number> {
  return new Map(
    ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
      fs
        .readFileSync(table, 'utf8')
        .split('\n')
        .flatMap((line): [string, number][] => {
          const [, address = '', , state, , , , , , inode] = line.trim().split(/\s+/);
          const port = Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16);
          return state === TCP_LISTEN && inode !== undefined ? [[`socket:[${inode}]`, port]] : [];
        }),
    ),
  );
}

/** What the descriptors of a process are. */
function linksOf(pid: string): string[] {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).map((fd) => readLink(`/proc/${pid}/fd/${fd}`));
  } catch {
    // Another user's process, or one that has just ended.
    return [];
  }
}

function readLink(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return '';
  }
}
