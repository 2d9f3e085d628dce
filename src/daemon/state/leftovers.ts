import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { StatePaths } from '../../control/paths.ts';
import { isRunning } from '../../sys/process.ts';

/** Files that are written under a name with the writer's pid and then renamed, or are there for a moment only. */
const temporary =
  /^(?:state\.json\.|counters\.json\.|services\.json\.|ready\.|grace\.pid\.|grace\.sock\.|keeper-)([0-9]+)(?:\.sock)?$/;

/** Remove what processes that crashed in the middle of writing have left. To be called with the lock held. */
export function removeLeftovers({ dir }: StatePaths): void {
  for (const name of readdirSync(dir)) {
    const pid = temporary.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(dir, name), { force: true });
  }
}
