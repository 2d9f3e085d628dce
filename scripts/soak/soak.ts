/**
 * `npm run soak`: connections of all kinds through a daemon that is switched, held, restarted, upgraded, killed and
 * starved meanwhile. Every byte and every end is accounted for. Exit code 1: something was lost without an
 * explanation, or something grows.
 *
 *     npm run soak -- 30m
 *     npm run soak -- 5m --connections 500 --seed 4711 --engine portable --events restart,crash
 */
import { dirname } from 'node:path';
import { parseOptions } from './options.ts';
import { soak } from './run.ts';

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort()).once('SIGTERM', () => interrupt.abort());
try {
  const options = parseOptions(process.argv.slice(2), { root: dirname(dirname(import.meta.dirname)) });
  const isWell = await soak(options, { say: (line) => console.log(line), interrupt: interrupt.signal });
  process.exit(isWell ? 0 : 1);
} catch (error) {
  console.error(`soak: ${(error as Error).message}`);
  process.exit(2);
}
