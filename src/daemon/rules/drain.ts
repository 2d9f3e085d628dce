/** Connections to earlier destinations that are closed over a time, as the daemon does it. */
import type { Destination } from '../../forward/destination.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { specsOf } from '../../forward/routing.ts';
import type { DrainResult } from '../../forward/timed-drains.ts';
import { errorMessage } from '../../error.ts';
import type { Log } from '../log/log.ts';
import type { Service } from '../service.ts';

/** Close what is left on earlier destinations of a source, here and in older generations, evenly over so many milliseconds. Returns how many there are. */
export async function drainEarlier(service: Service, src: SourceSpec, overMs: number): Promise<number> {
  const { forwarder, generations, log } = service;
  const own = forwarder.timedDrains.begin(src.key, overMs);
  const keep = specsOf(forwarder.routing(src)).map(({ key }) => key);
  const answers = await generations.ask({ command: 'generation-drain', srcKey: src.key, keep, overMs });
  const connections = answers.reduce((sum, { result }) => sum + (result?.draining ?? 0), own);
  if (connections > 0) log.info({ src: src.typed, connections, overMs }, 'closing connections to earlier destinations');
  for (const { pid, problem } of answers)
    if (problem !== undefined)
      log.warn({ src: src.typed, pid, error: problem }, 'an older process does not close its connections');
  return connections;
}

/** Log how a drain went. */
export function logDrained(log: Log, src: SourceSpec, destination: Destination, result: DrainResult | Error): void {
  const context = { src: src.typed, dst: destination.spec.typed };
  if (result instanceof Error)
    log.error({ ...context, error: errorMessage(result) }, 'connections are not closed any more');
  else if (result.connections > 0) log.info({ ...context, ...result }, 'connections to an earlier destination closed');
}
