/** Whether this daemon is well: for load balancers, orchestrators and whoever watches over it. */
import { call } from '../../control/client.ts';
import { ownRows } from '../requests/rows.ts';
import type { Service } from '../service.ts';

/** What is wrong, a sentence each with the rule that it is about; none when nothing is. */
export type Problems = readonly { src?: string; text: string }[];

/** Why the daemon is not healthy: a rule does not listen, or it is stopping. */
export async function whyNotHealthy(service: Service): Promise<Problems> {
  if (service.lifecycle.isStopping) return [{ text: 'the daemon is stopping' }];
  // A client that this process accepted just before it was replaced asks about the daemon, which is another process now.
  const rows =
    service.phase === 'replaced'
      ? (await call(service.paths.dir, { command: 'ls' })).rows
      : ownRows(service).map(({ row }) => row);
  return rows.flatMap(({ src, error }) => (error === undefined ? [] : [{ src, text: `is not served: ${error}` }]));
}

/** Why no more clients are to be sent here: what `DIR/ready` says as 0. That the end is announced comes before the end. */
export async function whyNotReady(service: Service): Promise<Problems> {
  if (service.lifecycle.isAnnounced && !service.lifecycle.isStopping) return [{ text: 'the daemon is about to stop' }];
  return await whyNotHealthy(service);
}
