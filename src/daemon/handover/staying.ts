/** Open connections that stay with a process that was replaced, and why. */
import type { Staying } from '../../control/shapes.ts';
import type { Engine, Mover } from '../../engine/engine.ts';
import type { DestinationView } from '../../forward/table.ts';

/** What decides it. */
export type StayingOptions = {
  engine: Pick<Engine, 'name' | 'mover'>;
  /** Every destination that has connections here. */
  views: readonly DestinationView[];
  /** What the new process takes: any connection at all, and those with TLS. */
  takes: { any: boolean; tls: boolean };
  /** Connections that processes have which were replaced earlier. */
  ofEarlier: number;
};

/** Count them, the most first. */
export function stayingOf({ engine, views, takes, ofEarlier }: StayingOptions): Staying[] {
  const counts = new Map<string, number>();
  const add = (why: string, connections: number) => {
    if (connections > 0) counts.set(why, (counts.get(why) ?? 0) + connections);
  };
  const { mover } = engine;
  for (const view of views) {
    const { connections } = view.destination.stats();
    if (view.listener === null) add('of a rule that was stopped', connections);
    else if (!mover) add(`of the ${engine.name} engine, which moves none`, connections);
    else if (!takes.any) add('that the new process does not take', connections);
    else addOfMover(view, { mover, takesTls: takes.tls, add });
  }
  add('of earlier restarts', ofEarlier);
  return [...counts].map(([why, connections]) => ({ connections, why })).sort((a, b) => b.connections - a.connections);
}

type OfMover = { mover: Mover; takesTls: boolean; add: (why: string, connections: number) => void };

function addOfMover({ destination }: DestinationView, { mover, takesTls, add }: OfMover): void {
  const { upstream } = destination;
  const { connections } = destination.stats();
  const unmovable = mover.unmovable(upstream);
  const handshakes = Math.min(mover.handshakes(upstream), connections - unmovable);
  add('of the portable engine (TLS, most often), which moves none', unmovable);
  add('in a TLS handshake', handshakes);
  const rest = connections - unmovable - handshakes;
  add(takesTls ? 'that could not be moved' : 'with TLS, which the new process does not take', rest);
}

/** The same in words: `2 in a TLS handshake, 1 of a rule that was stopped`. */
export function describeStaying(staying: readonly Staying[]): string {
  return staying.map(({ connections, why }) => `${connections} ${why}`).join(', ');
}
