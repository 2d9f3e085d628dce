/** What a process and all its descendants use, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat, per second (USER_HZ, the same on every Linux). */
const ticksPerSecond = 100;

/** A process and its descendants. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(entry)) continue;
    const parent = Number(statFields(Number(entry))?.[1] ?? -1);
    children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const tree: number[] = [];
  for (const queue = [root]; queue.length > 0;) {
    const pid = queue.pop()!;
    tree.push(pid);
    queue.push(...(children.get(pid) ?? []));
  }
  return tree;
}

/**
 * CPU seconds, user and system, that trees have used since they were started: of processes and
 * threads that live, and of those that have ended. Read again while processes come and go meanwhile,
 * since one that ends between two reads is counted twice or not at all.
 */
export function cpuSeconds(roots: readonly number[]): number {
  for (let tries = 1; ; tries++) {
    const tree = roots.flatMap(processTree);
    const seconds = tree.reduce((sum, pid) => sum + processSeconds(pid), 0);
    const isSteady = roots.flatMap(processTree).join() === tree.join();
    if (isSteady || tries === 20) return seconds;
  }
}

/**
 * The scheduler's nanoseconds of the live threads, because ticks are rounded down for each process,
 * which loses much where there is one for each connection; the ticks of the whole process where they
 * say more, since they alone count threads that have ended. Children that were waited for come with ticks.
 */
function processSeconds(pid: number): number {
  const fields = statFields(pid);
  if (!fields) return 0;
  const [utime, stime, cutime, cstime] = fields.slice(11, 15).map((ticks) => Number(ticks) / ticksPerSecond) as [
    number,
    number,
    number,
    number,
  ];
  return Math.max(threadSeconds(pid), utime + stime) + cutime + cstime;
}

function threadSeconds(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
      const [running = '0'] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
      return sum + Number(running) / 1e9;
    }, 0);
  } catch {
    return 0; // it has just ended, or the kernel does not count
  }
}

/** When a process was started, to tell it from a later one with the same pid; null when it has ended. */
export function startTime(pid: number): string | null {
  const fields = statFields(pid);
  return fields === null || fields[0] === 'Z' ? null : fields[19]!;
}

export function isSameProcess({ pid, since }: { pid: number; since: string | null }): boolean {
  return since !== null && startTime(pid) === since;
}

/** Fields of /proc/PID/stat from the state on: [state, ppid, …]; proc(5) counts them from 3. */
function statFields(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null; // it has just ended
  }
}

/** Memory of trees in kB, shared pages divided among those that share them (PSS). */
export function memoryKb(roots: readonly number[]): number {
  return roots.flatMap(processTree).reduce((sum, pid) => {
    try {
      return sum + Number(/^Pss: *([0-9]+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      return sum; // it has just ended
    }
  }, 0);
}

export type MachineTimes = {
  /** CPU seconds that the whole machine worked, interrupts included. */
  busy: number;
  /** CPU seconds that another guest of the host had instead. */
  stolen: number;
};

/** CPU seconds of the machine since it was started. */
export function machineTimes(): MachineTimes {
  const [user, nice, system, , , irq, softirq, stolen] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks) / ticksPerSecond) as [number, number, number, number, number, number, number, number];
  return { busy: user + nice + system + irq + softirq, stolen };
}
