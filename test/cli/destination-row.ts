import type { DestinationRow } from '../../src/control/shapes.ts';

/** A row as the daemon sends it, with what the test cares for. */
export function destinationRow(parts: Partial<DestinationRow>): DestinationRow {
  return {
    src: 'tcp:1',
    dst: 'tcp:h:2',
    connections: 0,
    active: false,
    pid: 1,
    bytesIn: 0,
    bytesOut: 0,
    since: '2026-01-01T00:00:00.000Z',
    listening: '0.0.0.0:1',
    ...parts,
  };
}
