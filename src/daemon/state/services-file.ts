/**
 * Where services were when DNS last said so, for a daemon that begins while no name server answers: after a
 * restart, a crash, a reboot. The file is worth no fsync; one that is missing or damaged costs nothing else.
 */
import { isIP } from 'node:net';
import * as v from 'valibot';
import { readRegularFile } from '../../sys/regular-file.ts';
import { replaceFile } from './replace-file.ts';
import type { RememberedService } from '../../engine/service-memory.ts';

const number16 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535));
const address = v.pipe(
  v.string(),
  v.check((text) => isIP(text) !== 0),
);
const fileSchema = v.object({
  format: v.literal(1),
  services: v.array(
    v.object({
      key: v.string(),
      records: v.array(v.object({ priority: number16, weight: number16, port: number16, host: v.string() })),
      addresses: v.record(v.string(), v.array(address)),
    }),
  ),
});

/** What an earlier daemon knew; nothing of a file that cannot be understood. */
export function loadServices(path: string): readonly RememberedService[] {
  try {
    return v.parse(fileSchema, JSON.parse(readRegularFile(path))).services;
  } catch {
    return []; // name servers are asked
  }
}

/** Write down what this daemon knows. Throws what the system says. */
export function saveServices(path: string, services: readonly RememberedService[]): void {
  replaceFile(path, `${JSON.stringify({ format: 1, services }, null, 2)}\n`);
}
