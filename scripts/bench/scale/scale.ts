/** The section `scale`: grace beside HAProxy with many connections and many rules, each alone, one after the other. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Stage } from '../compare.ts';
import { interleave } from '../interleave.ts';
import type { Rounds } from '../interleave.ts';
import type { Figures } from '../measure.ts';
import type { Options } from '../options.ts';
import { findProgram } from '../program.ts';
import { grace, haproxy } from './forwarders.ts';
import type { Forwarder } from './forwarders.ts';
import { cycles, manyConnections, manyRules, openConnections, planConnections } from './measure.ts';
import type { ScaleMeasurement } from './measure.ts';

/** A table of it. */
type Part = {
  name: string;
  title: string;
  remark?: string;
  measure(forwarder: Forwarder, measurement: ScaleMeasurement): Promise<Figures>;
  /** Only grace can do it. */
  isGraceOnly?: boolean;
};

/** Besides two for each connection or rule: HAProxy does not start without those that it may come to need. */
const spareDescriptors = 5000;

const ofRestarts =
  'restart: until the next process serves (HAProxy: a reload, of which the old process goes on with its connections); stall: longest wait of a client that sends a byte a millisecond over one connection, and of one that connects anew for each';

export const scaleParts: readonly Part[] = [
  {
    name: 'scale-open',
    title: 'Open connections that do nothing, from 20 addresses',
    remark: ofRestarts,
    measure: openConnections,
  },
  { name: 'scale-rules', title: 'Rules, and one client', remark: ofRestarts, measure: manyRules },
  {
    name: 'scale-cycles',
    title: 'A rule that is stopped and started over and over, by requests to the daemon',
    measure: cycles,
    isGraceOnly: true,
  },
  {
    name: 'scale-total',
    title: 'New connections with a request each, 20 at a time',
    remark: 'memory 3 s into the load: all processes, and the one that moves bytes',
    measure: manyConnections,
  },
];

/** Measure all parts, and show each as it is there. */
export async function measureScale(
  options: Options,
  { dir, signal, note, showProgress }: Stage,
  show: (name: string, measured: Rounds, reference: string | null) => void,
): Promise<void> {
  const descriptors = descriptorLimit(
    Math.ceil(2.4 * Math.max(options.scale.open, options.scale.rules)) + spareDescriptors,
  );
  const { count, parts } = planConnections(options.scale.open, descriptors);
  if (count < options.scale.open)
    note(
      `scale-open: ${count} connections in ${parts.length} parts, since a process may have ${descriptors} descriptors here`,
    );
  const all = [
    ...options.builds.map(({ name, path }) => grace(`grace ${name}`.trim(), path)),
    ...(findProgram('haproxy') === null ? [] : [haproxy('HAProxy')]),
  ];
  const forwarders = all.filter(
    ({ name }) => options.only?.some((part) => name.toLowerCase().includes(part.toLowerCase())) ?? true,
  );
  for (const part of scaleParts) {
    const measured = await interleave({
      peers: forwarders.filter(({ name }) => part.isGraceOnly !== true || name.startsWith('grace')),
      rounds: options.scale.rounds,
      signal,
      measure(forwarder, round) {
        showProgress(`${part.name} ${forwarder.name}`);
        const own = `${part.name}-${forwarder.name}-${round}`.replaceAll(/[^a-z0-9]+/gi, '-');
        return part.measure(forwarder, { dir: join(dir, own), sizes: options.scale, descriptors, signal });
      },
      onFailure: ({ peer, error }) => note(`${part.name}: ${peer.name} failed: ${error.message}`),
    });
    show(part.name, measured, options.reference);
  }
}

/** How many descriptors a process may have: those that are wanted, if the limit can be raised so far. */
function descriptorLimit(wanted: number): number {
  const script = `ulimit -n ${wanted} 2>/dev/null || ulimit -n $(ulimit -Hn); ulimit -n`;
  return Number(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }));
}
