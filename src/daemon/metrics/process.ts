/** Figures of this process, by the names that Prometheus has for those of any. */
import { readdirSync, readFileSync } from 'node:fs';
import { fdLimit } from '../../sys/process.ts';
import { gauge } from './exposition.ts';
import type { Metric } from './exposition.ts';

/** Memory, descriptors and start; what the system does not tell is left out. */
export function processMetrics({ startedAt }: { startedAt: string }): Metric[] {
  const { rss } = process.memoryUsage();
  return [
    gauge('process_resident_memory_bytes', 'Memory of the process that serves.', [{ value: rss }]),
    ...told(
      'process_virtual_memory_bytes',
      'Address space of the process that serves.',
      () => Number(/^VmSize:\s+([0-9]+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) * 1024,
    ),
    ...told(
      'process_open_fds',
      'Open descriptors of the process that serves.',
      () => readdirSync('/proc/self/fd').length,
    ),
    ...told('process_max_fds', 'Most descriptors that the process that serves may have.', () => Number(fdLimit().soft)),
    gauge('process_start_time_seconds', 'When the process that serves came up, in seconds since 1970.', [
      { value: Date.parse(startedAt) / 1000 },
    ]),
  ];
}

function told(name: string, help: string, read: () => number): Metric[] {
  try {
    const value = read();
    return Number.isNaN(value) ? [] : [gauge(name, help, [{ value }])];
  } catch {
    return []; // no Linux
  }
}
