import type { Destination } from '../../forward/destination.ts';
import type { Listener } from '../../net/listener.ts';
import { routingSpec } from '../../forward/routing.ts';
import { inodeOf } from '../../sys/descriptor.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import { textOf, textOfRouting } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import type { HandedRule, Handover } from './messages.ts';
import { moveFormat } from './move.ts';
import type { HandedCounters } from './state.ts';

/** What the successor needs to go on, and the listeners in the order in which it inherits them. */
export function takeSnapshot(service: Service): { handover: Handover; listeners: Listener[]; told: HandedCounters } {
  const sockets = service.listeners.inherited;
  const listeners: Listener[] = sockets.map(({ listener }) => listener);
  const indexes = new Map(listeners.map((listener, index) => [listener, index]));
  const indexOf = (listener: Listener): number => {
    const index = indexes.get(listener) ?? listeners.push(listener) - 1;
    indexes.set(listener, index);
    return index;
  };
  const told: { destination: Destination; bytesIn: number; bytesOut: number }[] = [];
  const tell = (destination: Destination) => {
    const { bytesIn, bytesOut } = destination.stats();
    told.push({ destination, bytesIn, bytesOut });
    return { dst: textOf(destination.spec), bytesIn, bytesOut, since: destination.since };
  };
  const served = service.forwarder.rules.map((rule): HandedRule => {
    const { src, current, routing, trial, admission } = rule;
    const hold = service.holds.handOver(src);
    const others = rule.routed.filter((each) => each !== current);
    return {
      src: textOf(src),
      listener: indexOf(rule.listener),
      ...tell(current),
      ...textOfRouting(routingSpec(routing)),
      ...(admission?.isCounting && { addresses: admission.addresses({ isOwn: false }) }),
      ...(others.length > 0 && { others: others.map(tell) }),
      ...(trial && {
        trial: {
          before: textOfRouting(routingSpec(trial.before)),
          watched: textOf(trial.destination.spec),
          leftMs: trial.leftMs,
        },
      }),
      ...(hold && { hold }),
    };
  });
  const broken = service.forwarder.broken.map(({ spec }): HandedRule => ({
    src: textOf(spec.src),
    ...textOfRouting(spec),
    listener: null,
    bytesIn: 0,
    bytesOut: 0,
    since: '',
  }));
  const { admin, supervisor } = service;
  const keeper = supervisor.keeper?.pid ?? supervisor.lostKeeper;
  const handover: Handover = {
    format: 1,
    version: service.version,
    pid: process.pid,
    ...(keeper !== null && { keeper }),
    startedAt: service.startedAt,
    uptimeMs: service.uptimeMs(),
    generation: service.generation,
    rules: [...served, ...broken],
    ...(service.unread.length > 0 ? { unread: service.unread } : {}),
    ...(admin && {
      admin: { listener: admin.listener && indexOf(admin.listener), events: admin.events.all },
    }),
    ...(service.engine.mover ? { move: moveFormat } : {}),
    ...(service.engine.mover?.tlsFormat ? { moveTls: service.engine.mover.tlsFormat } : {}),
    ...(service.tickets.snapshot ? { tickets: service.tickets.snapshot } : {}),
    sockets: sockets.map(({ fd, index, name }, listener) => ({ listener, fd, index, name })),
    ...(hasLinuxCalls && {
      inodes: { lock: inodeOf(service.lock.fd), listeners: listeners.map(({ inode }) => inode) },
    }),
  };
  return { handover, listeners, told };
}
