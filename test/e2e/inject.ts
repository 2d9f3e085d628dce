import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';

/** Have these system calls of a process fail from now on, and of what it starts. Returns what ends that; null where strace cannot do it. */
export async function inject(
  t: TestContext,
  pid: number,
  calls: string,
  error: string,
  { isMainAlone = false } = {},
): Promise<(() => Promise<void>) | null> {
  const tracer = spawn(
    'strace',
    [...(isMainAlone ? [] : ['-f']), '-p', String(pid), '-e', `trace=${calls}`, '-e', `inject=${calls}:error=${error}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const detach = async () => {
    if (tracer.exitCode !== null || tracer.signalCode !== null) return;
    tracer.kill();
    await once(tracer, 'exit');
  };
  t.after(detach);
  const isAttached = await new Promise<boolean>((resolve) => {
    tracer.once('error', () => resolve(false)).once('exit', () => resolve(false));
    tracer.stderr.on('data', (text: Buffer) => void (/ attached/.test(String(text)) && resolve(true)));
  });
  return isAttached ? detach : null;
}
