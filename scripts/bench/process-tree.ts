/** What a process and all its descendants use, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat, per second (USER_HZ). */
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
  for (const queue = [root]; queue.length > 0; ) {
    const pid = queue.pop()!;
    tree.push(pid);
    queue.push(...(children.get(pid) ?? []));
  }
  return tree;
}

/** CPU seconds that a tree has used: its threads' to the nanosecond, and those of children that were reaped. */
export function cpuSeconds(roots: readonly number[]): number {
  return roots.flatMap(processTree).reduce((sum, pid) => sum + threadSeconds(pid) + reapedSeconds(pid), 0);
}

function threadSeconds(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
      const [running = '0'] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
      return sum + Number(running) / 1e9;
    }, 0);
  } catch {
    return 0; // it has just ended
  }
}

function reapedSeconds(pid: number): number {
  const fields = statFields(pid);
  return fields ? (Number(fields[13]) + Number(fields[14])) / ticksPerSecond : 0;
}

/** Fields of /proc/PID/stat from the state on: [state, ppid, …]. */
function statFields(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null; // it has just ended
  }
}

/** Memory of a tree in kB, shared pages divided among those that share them (PSS). */
export function memoryKb(roots: readonly number[]): number {
  return roots.flatMap(processTree).reduce((sum, pid) => {
    try {
      return sum + Number(/^Pss: *([0-9]+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      return sum; // it has just ended
    }
  }, 0);
}
