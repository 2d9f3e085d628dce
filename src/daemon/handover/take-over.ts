/** What a successor does to take over from its predecessor, beside opening what it was handed. */
import type { GoMessage, Handover } from './messages.ts';
import { moveIn } from './move-in.ts';
import type { Launcher } from '../launcher.ts';
import { settleStreams } from '../log/output.ts';
import { loadCounters } from '../state/counters-file.ts';
import { connectionsOf, sumOf } from '../rules/places.ts';
import type { Service } from '../service.ts';
import { errorMessage } from '../../error.ts';
import { closeFd } from '../../sys/descriptor.ts';

/**
 * The predecessor went away before it said that the state dir is ours. If it lives, it goes on. If it
 * died, a supervisor starts the next daemon, on the sockets that it keeps; without one there is only us.
 */
export async function takeOverAlone(
  { supervisor, log, paths, book }: Service,
  launcher: Launcher,
  error: unknown,
): Promise<void> {
  const isKept = supervisor.keeper !== null || supervisor.lostKeeper !== null || supervisor.keepsOverStop;
  if (isKept || !(await launcher.isDead())) throw error;
  launcher.moving = null;
  const { counts } = loadCounters(paths.counters);
  if (counts) book.addEnded(counts);
  log.warn({ predecessor: launcher.handover?.pid }, 'the daemon that was to be replaced died; serving in its place');
}

/** Until the connections have come: what the predecessor had counts for the limits of its rules. */
export function reservePlaces(
  { forwarder }: Service,
  { rules }: Handover,
  { connections = [], addresses = [], generations = [] }: Omit<GoMessage, 'go'>,
): void {
  const open = generations.flatMap(({ rows: each }) => each);
  forwarder.adoption.reserveTotal({ all: sumOf(open), of: connectionsOf(open) });
  const counts = new Map(rules.map((rule, index) => [rule.src.absolute, connections[index]]));
  const rows = new Map(rules.map((rule, index) => [rule.src.absolute, addresses[index]]));
  for (const { src, admission } of forwarder.rules) {
    const row = rows.get(src.absolute);
    if (row) admission?.setElsewhere([row]);
  }
  for (const { src, slots } of forwarder.rules) slots?.reserve(counts.get(src.absolute) ?? slots.limit);
}

/** Take over the open connections of the process that this one succeeds. Its socket is closed in any case. */
export async function receiveConnections(
  service: Service,
  { moving, isDead }: Launcher,
  socket: number,
): Promise<void> {
  const { log } = service;
  try {
    if (!moving) return;
    const came = await moveIn(service, { channel: moving, socket, isDead });
    service.handover.arrived(came);
    settleStreams(service.logOutput);
    if (came.moved > 0) log.info({ connections: came.moved }, 'open connections taken over');
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'open connections could not be taken over');
  } finally {
    closeFd(socket);
    service.handover.endMoving();
  }
}
